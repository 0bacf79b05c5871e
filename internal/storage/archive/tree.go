package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive/ustar"
)

// dirReader lists directories; its buffer is used again.
type dirReader struct{ buf []byte }

// read returns the names in the directory, sorted, without "." and "..".
func (d *dirReader) read(fd int) ([]string, error) {
	if d.buf == nil {
		d.buf = make([]byte, 32<<10)
	}
	var names []string
	for {
		n, err := unix.Getdents(fd, d.buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n == 0 {
			slices.Sort(names)
			return names, nil
		}
		// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name to its NUL
		for b := d.buf[:n]; len(b) >= 19; {
			length := int(binary.NativeEndian.Uint16(b[16:]))
			name, _, _ := bytes.Cut(b[19:length], []byte{0})
			if s := string(name); s != "." && s != ".." {
				names = append(names, s)
			}
			b = b[length:]
		}
	}
}

// readXattrs puts the extended attributes of fd into p.h and reports whether
// they make an overlay directory opaque. Kept are those that mean the same
// elsewhere: user's, trusted ones, file capabilities and access lists, not the
// labels of this host's security modules and not overlay's own.
func (p *packer) readXattrs(fd int, name string) (opaque bool, err error) {
	path := rootpath.ProcPath(fd)
	list, err := p.xattr(func(b []byte) (int, error) { return unix.Listxattr(path, b) })
	if err != nil || len(list) == 0 {
		return false, pathError("listxattr", name, err)
	}
	for key := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		overlay := isOverlayXattr(key)
		if overlay && p.overlay {
			_, word, _ := strings.Cut(key, ".overlay.")
			switch word {
			case "redirect", "metacopy":
				return false, errdefs.New(errdefs.Unsupported, "cannot make a layer of %s: it holds the overlay attribute %s", quote(name), key).
					WithHint("mount the layer with redirect_dir=off,metacopy=off and copy the file to make it whole")
			case "opaque":
				value, err := p.xattr(func(b []byte) (int, error) { return unix.Getxattr(path, key, b) })
				if err != nil {
					return false, pathError("getxattr "+key, name, err)
				}
				opaque = opaque || string(value) == "y"
			}
		}
		if overlay || !keptXattr(key) {
			continue
		}
		value, err := p.xattr(func(b []byte) (int, error) { return unix.Getxattr(path, key, b) })
		if err != nil {
			return false, pathError("getxattr "+key, name, err)
		}
		if value != nil {
			p.h.Xattrs = append(p.h.Xattrs, ustar.Xattr{Name: key, Value: string(value)})
		}
	}
	return opaque, nil
}

func keptXattr(key string) bool {
	switch key {
	case "security.capability", "system.posix_acl_access", "system.posix_acl_default":
		return true
	}
	return strings.HasPrefix(key, "user.") || strings.HasPrefix(key, "trusted.")
}

// xattr calls get with a buffer that is large enough. An attribute that is gone
// by now, and a file system without attributes, give nil.
func (p *packer) xattr(get func([]byte) (int, error)) ([]byte, error) {
	if p.xattrs == nil {
		p.xattrs = make([]byte, 1024)
	}
	for {
		n, err := get(p.xattrs)
		switch {
		case err == nil:
			return p.xattrs[:n], nil
		case errors.Is(err, unix.ERANGE) && len(p.xattrs) < 1<<20:
			p.xattrs = make([]byte, 4*len(p.xattrs))
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP):
			return nil, nil
		default:
			return nil, err
		}
	}
}

// showsKernel reports whether the directory lies on a file system that shows
// the kernel's state: reading all of it is endless, harmful, or meaningless elsewhere.
func showsKernel(fd int) bool {
	var fs unix.Statfs_t
	if unix.Fstatfs(fd, &fs) != nil {
		return false
	}
	switch uint32(fs.Type) {
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
		unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC, unix.SELINUX_MAGIC, 0x19800202: // the last: mqueue
		return true
	}
	return false
}
