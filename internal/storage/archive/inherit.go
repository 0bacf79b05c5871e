package archive

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive/ustar"
)

// Inherit gives the directories that Apply had to make up (Result.Implied) the
// owner, mode and extended attributes that they have in the layers below,
// topmost first. A layer that holds "tmp/x" and says nothing of "tmp" means the
// directory that is there: overlay shows the topmost layer's, so it must be
// like that one.
func Inherit(root *os.File, implied, lowers []string) error {
	for _, path := range implied {
		if err := inherit(root, path, lowers); err != nil {
			return err
		}
	}
	return nil
}

func inherit(root *os.File, path string, lowers []string) error {
	own, hidden, err := find(int(root.Fd()), path)
	if err != nil || own < 0 {
		return err
	}
	defer unix.Close(own)
	for _, lower := range lowers {
		if hidden {
			return nil
		}
		dir, err := rootpath.OpenRoot(lower)
		if err != nil {
			return err
		}
		var fd int
		fd, hidden, err = find(int(dir.Fd()), path)
		dir.Close()
		if err != nil {
			return err
		}
		if fd >= 0 {
			err := copyDirectory(fd, own, path)
			unix.Close(fd)
			return err
		}
	}
	return nil
}

// find opens the directory of a layer that path names, -1 if the layer has
// none. hidden tells that the layer hides what those below have there, because
// it deletes the path, has something else on the way, or made a directory opaque.
func find(root int, path string) (fd int, hidden bool, err error) {
	fd, err = rootpath.OpenAt(root, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, false, err
	}
	for name := range strings.SplitSeq(path, "/") {
		next, err := openAt(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		unix.Close(fd)
		switch {
		case errors.Is(err, unix.ENOENT):
			return -1, hidden, nil
		case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			return -1, true, nil
		case err != nil:
			return -1, hidden, pathError("openat", path, err)
		}
		fd = next
		hidden = hidden || isOpaque(fd)
	}
	return fd, hidden, nil
}

// copyDirectory gives one open directory the attributes of another.
func copyDirectory(from, to int, name string) error {
	var want, have unix.Stat_t
	if err := unix.Fstat(from, &want); err != nil {
		return pathError("fstat", name, err)
	}
	if err := unix.Fstat(to, &have); err != nil {
		return pathError("fstat", name, err)
	}
	xattrs, err := directoryXattrs(from, name)
	if err != nil {
		return err
	}
	h := ustar.Header{Mode: want.Mode & 0o7777, Mtime: ustar.Time{Nsec: unix.UTIME_OMIT}, Xattrs: xattrs}
	return new(applier).attributesOf(to, name, &have, &h, owner{want.Uid, want.Gid})
}

// directoryXattrs reads the extended attributes of an open directory.
func directoryXattrs(fd int, name string) ([]ustar.Xattr, error) {
	names := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(fd, names)
	if err != nil || n == 0 {
		if errors.Is(err, unix.ENOTSUP) {
			err = nil
		}
		return nil, pathError("flistxattr", name, err)
	}
	var list []ustar.Xattr
	for key := range strings.SplitSeq(strings.TrimSuffix(string(names[:n]), "\x00"), "\x00") {
		if isOverlayXattr(key) {
			continue
		}
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err := unix.Fgetxattr(fd, key, value)
		if err != nil {
			return nil, pathError("fgetxattr "+quote(key), name, err)
		}
		list = append(list, ustar.Xattr{Name: key, Value: string(value[:n])})
	}
	return list, nil
}
