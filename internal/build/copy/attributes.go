package copy

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/build/source"
	"berth/internal/linux/rootpath"
)

// ownerOf is who a file of the source belongs to in the target.
func (t *target) ownerOf(st *unix.Stat_t) Owner {
	if t.owner != nil {
		return *t.owner
	}
	return Owner{st.Uid, st.Gid}
}

// finishFile gives an open file or directory of the target what st and the
// instruction say. The order matters: a change of owner takes set-id bits and
// file capabilities away, and everything changes the times.
func (t *target) finishFile(fd int, st *unix.Stat_t, xattrs []source.Xattr) error {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	own, mode := t.ownerOf(st), t.chmod.Apply(st.Mode)
	chowned := now.Uid != own.UID || now.Gid != own.GID
	if chowned {
		if err := unix.Fchown(fd, int(own.UID), int(own.GID)); err != nil {
			return os.NewSyscallError("chown", err)
		}
	}
	if now.Mode&0o7777 != mode || chowned && mode&setID != 0 {
		if err := unix.Fchmod(fd, mode); err != nil {
			return os.NewSyscallError("chmod", err)
		}
	}
	if err := setXattrs(rootpath.ProcPath(fd), xattrs); err != nil {
		return err
	}
	return t.setTimes(fd, "", st)
}

// finishPath is finishFile for what must not be opened: it is pinned instead.
func (c *copier) finishPath(e *entry, name string) error {
	fd, err := unix.Openat(c.here(), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	own := c.ownerOf(&e.st)
	if err := unix.Fchownat(fd, "", int(own.UID), int(own.GID), unix.AT_EMPTY_PATH); err != nil {
		return os.NewSyscallError("chown", err)
	}
	if e.st.Mode&unix.S_IFMT != unix.S_IFLNK {
		if err := unix.Chmod(rootpath.ProcPath(fd), c.chmod.Apply(e.st.Mode)); err != nil {
			return os.NewSyscallError("chmod", err)
		}
	}
	xattrs, err := c.tree.Xattrs(e.dir, e.name)
	if err != nil {
		return err
	}
	if len(xattrs) > 0 {
		// A link is named through its directory: a path through its own descriptor would follow it.
		for _, x := range xattrs {
			err := unix.Lsetxattr(rootpath.ProcPath(c.here())+"/"+name, x.Name, []byte(x.Value), 0)
			if err := ignorable(x.Name, err); err != nil {
				return err
			}
		}
	}
	return c.setTimes(fd, "", &e.st)
}

func setXattrs(path string, xattrs []source.Xattr) error {
	for _, x := range xattrs {
		if err := ignorable(x.Name, unix.Setxattr(path, x.Name, []byte(x.Value), 0)); err != nil {
			return err
		}
	}
	return nil
}

// ignorable forgives attributes that the target's file system does not take, or
// not from us: without privileges only user.* is free.
func ignorable(name string, err error) error {
	if err == nil || errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
		return nil
	}
	return os.NewSyscallError("setxattr "+printable(name), err)
}

// link makes e a hard link to the file that was made of the same inode.
func (c *copier) link(e *entry, name string) (done bool, err error) {
	first, ok := c.links[inode{e.st.Dev, e.st.Ino}]
	if !ok {
		return false, nil
	}
	dir, base := rootpath.SplitLast(first.path)
	fd, err := rootpath.OpenAt(c.dirs[0], dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return false, nil // it is gone: copy the bytes
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstatat(fd, base, &st, unix.AT_SYMLINK_NOFOLLOW) != nil || (inode{st.Dev, st.Ino}) != first.id {
		return false, nil
	}
	err = c.fresh(name, "link", func() error { return unix.Linkat(fd, base, c.here(), name, 0) })
	if errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EXDEV) {
		return false, nil
	}
	return true, err
}

// remember notes a file that has more names.
func (c *copier) remember(fd int, st *unix.Stat_t, name string) error {
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if c.links == nil {
		c.links = map[inode]linked{}
	}
	path := strings.Join(append(c.names[:len(c.names):len(c.names)], name), "/")
	c.links[inode{st.Dev, st.Ino}] = linked{path, inode{now.Dev, now.Ino}}
	return nil
}
