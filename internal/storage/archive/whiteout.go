package archive

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	metaPrefix     = ".wh..wh." // AUFS kept its own things under such names
	xattrTrusted   = "trusted.overlay."
	xattrUser      = "user.overlay."
)

// whiteoutMark is what a name means in a layer.
type whiteoutMark int

const (
	noWhiteout  whiteoutMark = iota
	oneWhiteout              // ".wh.X": X is deleted
	opaqueMark               // ".wh..wh..opq": the directory's earlier content is deleted
	wholeMeta                // ".wh..wh.anything": nothing of the image
)

// whiteoutKind tells what the entry dir/base means.
func whiteoutKind(dir, base string) (whiteoutMark, error) {
	if strings.HasPrefix(dir, whiteoutPrefix) || strings.Contains(dir, "/"+whiteoutPrefix) {
		if strings.HasPrefix(dir, metaPrefix) || strings.Contains(dir, "/"+metaPrefix) {
			return wholeMeta, nil
		}
		return noWhiteout, errdefs.New(errdefs.InvalidArgument, "a whiteout cannot be a directory")
	}
	switch {
	case !strings.HasPrefix(base, whiteoutPrefix):
		return noWhiteout, nil
	case base == opaqueName:
		return opaqueMark, nil
	case strings.HasPrefix(base, metaPrefix):
		return wholeMeta, nil
	}
	switch base[len(whiteoutPrefix):] {
	case "", ".", "..":
		return noWhiteout, errdefs.New(errdefs.InvalidArgument, "a whiteout of no name")
	}
	return oneWhiteout, nil
}

// whiteout writes a whiteout in overlay's words. It hides what layers below
// have, never what this layer has: if the same stream also holds the name, in
// whichever order, the name stays, and a directory becomes opaque, so that
// nothing from below shines through it.
func (a *applier) whiteout(kind whiteoutMark, dir, base string) error {
	parent, err := a.parent(dir)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	switch {
	case a.o.Delete:
		return deleteNamed(parent, name, kind)
	case kind == opaqueMark:
		return a.setOpaque(parent)
	}
	err = unix.Mknodat(parent, name, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EEXIST) {
		fd, err := openAt(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_DIRECTORY, 0)
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil
		}
		if err != nil {
			return pathError("openat", name, err)
		}
		defer unix.Close(fd)
		return a.setOpaque(fd)
	}
	return pathError("mknodat", name, err)
}

// deleteNamed does what a whiteout in a directory asks for.
func deleteNamed(dir int, name string, kind whiteoutMark) error {
	path := rootpath.ProcPath(dir) // of an O_PATH descriptor, which cannot be read itself
	at, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return pathError("open", path, err)
	}
	defer unix.Close(at)
	if kind == opaqueMark {
		return rootpath.RemoveChildren(at)
	}
	return rootpath.RemoveAll(at, name)
}

// setOpaque marks the directory of an O_PATH descriptor.
func (a *applier) setOpaque(dir int) error {
	key := xattrTrusted + "opaque"
	if a.o.UserXattr {
		key = xattrUser + "opaque"
	}
	return pathError("setxattr "+key, ".", unix.Setxattr(rootpath.ProcPath(dir), key, []byte{'y'}, 0))
}

// isWhiteout reports whether st is overlay's mark of a deleted name.
func isWhiteout(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0
}

// pathError returns err with the system call and name, or nil.
func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: name, Err: err}
}

// openAt opens a single name in a directory.
func openAt(dir int, name string, flags int, mode uint32) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}
