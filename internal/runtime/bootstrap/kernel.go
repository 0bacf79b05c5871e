package bootstrap

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// The mount API of Linux 5.2 and mount_setattr of 5.12, as program steps. All
// of them work on descriptors: a mount is made detached, adjusted, and attached
// to a directory that was opened safely, so no path inside the rootfs is ever
// resolved twice.

// openHow is struct open_how of openat2(2).
func openHow(flags, resolve uint64) program.Arg {
	b := make([]byte, 24)
	binary.NativeEndian.PutUint64(b, flags)
	binary.NativeEndian.PutUint64(b[16:], resolve)
	return program.Bytes(b)
}

// Resolution inside an untrusted root: symbolic links count from the root, the
// magic links of /proc are refused (CVE-2024-21626, CVE-2025-31133 and others).
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// noLinks is for places where a symbolic link is an attack (/proc, /dev, /sys; CVE-2019-16884, CVE-2026-41579).
const noLinks = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// mountAttr is struct mount_attr of mount_setattr(2).
func mountAttr(set, clr, propagation uint64) program.Arg {
	b := make([]byte, 32)
	binary.NativeEndian.PutUint64(b, set)
	binary.NativeEndian.PutUint64(b[8:], clr)
	binary.NativeEndian.PutUint64(b[16:], propagation)
	return program.Bytes(b)
}

// newFS makes a detached mount of a new filesystem and returns its descriptor.
func (c *compiler) newFS(what, fstype string, attrs int, options ...string) program.Reg {
	b := c.b
	fs := b.Call(what, unix.SYS_FSOPEN, program.Str(fstype), program.Int(unix.FSOPEN_CLOEXEC)).Save()
	for _, o := range options {
		key, value, isString := strings.Cut(o, "=")
		if isString {
			b.Call(what+": option "+o, unix.SYS_FSCONFIG, program.Result(fs), program.Int(unix.FSCONFIG_SET_STRING), program.Str(key), program.Str(value), program.Int(0))
		} else {
			b.Call(what+": option "+o, unix.SYS_FSCONFIG, program.Result(fs), program.Int(unix.FSCONFIG_SET_FLAG), program.Str(key), program.Int(0), program.Int(0))
		}
	}
	b.Call(what, unix.SYS_FSCONFIG, program.Result(fs), program.Int(unix.FSCONFIG_CMD_CREATE), program.Int(0), program.Int(0), program.Int(0))
	m := b.Call(what, unix.SYS_FSMOUNT, program.Result(fs), program.Int(unix.FSMOUNT_CLOEXEC), program.Int(attrs)).Save()
	b.Call("close", unix.SYS_CLOSE, program.Result(fs)).Ignore()
	return m
}

// cloneTree makes a detached copy of the mount (and, if recursive, of those
// below it) at path relative to dir; an empty path means dir itself.
func (c *compiler) cloneTree(what string, dir program.Arg, path string, recursive bool) program.Reg {
	flags := unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC
	if path == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	return c.b.Call(what, unix.SYS_OPEN_TREE, dir, program.Str(path), program.Int(flags)).Save()
}

// attach puts a detached mount on an opened directory or file.
func (c *compiler) attach(what string, mount, target program.Reg) program.Step {
	return c.b.Call(what, unix.SYS_MOVE_MOUNT, program.Result(mount), program.Str(""), program.Result(target), program.Str(""),
		program.Int(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
}

// setAttr changes the flags of a mount, and of those below it if recursive.
func (c *compiler) setAttr(what string, mount program.Reg, set, clr, propagation uint64, recursive bool) {
	flags := unix.AT_EMPTY_PATH
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	c.b.Call(what, unix.SYS_MOUNT_SETATTR, program.Result(mount), program.Str(""), program.Int(flags), mountAttr(set, clr, propagation), program.Int(32))
}

// openIn opens path (relative, inside the directory dir) as a handle.
func (c *compiler) openIn(what string, dir program.Reg, path string, flags, resolve uint64) program.Step {
	return c.b.Call(what, unix.SYS_OPENAT2, program.Result(dir), program.Str(path), openHow(flags|unix.O_PATH|unix.O_CLOEXEC, resolve), program.Int(24))
}
