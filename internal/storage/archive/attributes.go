package archive

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive/ustar"
)

// directory is a directory that waits for its attributes.
type directory struct {
	path   string // "" is the root
	ino    uint64 // so that another directory that took its place is left alone
	own    owner
	mode   uint32
	mtime  ustar.Time
	xattrs []ustar.Xattr
}

// maxRemembered bounds the memory that names and attributes of waiting directories take.
const maxRemembered = 64 << 20

// remember puts the attributes of a directory off to the end.
func (a *applier) remember(name string, h *ustar.Header, own owner) error {
	if len(a.later) >= a.o.Limits.Directories {
		return ustar.Exceeded("directories", int64(a.o.Limits.Directories))
	}
	fd, err := a.dirs.get(name, false)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("fstat", name, err)
	}
	d := directory{path: name, ino: st.Ino, own: own, mode: h.Mode, mtime: h.Mtime}
	d.xattrs = append(d.xattrs, h.Xattrs...) // the reader uses its slice again
	a.remembered += len(name)
	for _, x := range d.xattrs {
		a.remembered += len(x.Name) + len(x.Value)
	}
	if a.remembered > maxRemembered {
		return ustar.Exceeded("bytes of names and attributes of directories", maxRemembered)
	}
	a.later = append(a.later, d)
	return nil
}

// finishDirs sets what was put off, in the order of the stream: of two entries
// for one directory the later counts.
func (a *applier) finishDirs() error {
	for i := range a.later {
		if err := a.finishDir(&a.later[i]); err != nil {
			return errdefs.Wrap(err, "set the attributes of", quote(a.later[i].path))
		}
	}
	return nil
}

func (a *applier) finishDir(d *directory) error {
	path := a.dirs.full(d.path)
	flags := unix.O_RDONLY | unix.O_DIRECTORY
	if d.path != "" {
		flags |= unix.O_NOFOLLOW // the base may be reached by a link, an entry not
	}
	fd, err := rootpath.OpenAt(a.dirs.root, path, flags, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // a later entry replaced it
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("fstat", path, err)
	}
	if st.Ino != d.ino {
		return nil
	}
	return a.attributesOf(fd, path, &st, &ustar.Header{Mode: d.mode, Mtime: d.mtime, Xattrs: d.xattrs}, d.own)
}

// attributes sets owner, mode, extended attributes and mtime of an open file.
func (a *applier) attributes(fd int, name string, h *ustar.Header, own owner) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("fstat", name, err)
	}
	return a.attributesOf(fd, name, &st, h, own)
}

// attributesOf changes what st does not have yet: for root's files of an
// ordinary mode that is the mtime alone. The order matters: a change of owner
// clears set-id bits and file capabilities, and anything may touch the mtime.
func (a *applier) attributesOf(fd int, name string, st *unix.Stat_t, h *ustar.Header, own owner) error {
	chowned := st.Uid != own.uid || st.Gid != own.gid
	if chowned {
		if err := unix.Fchown(fd, int(own.uid), int(own.gid)); err != nil {
			return pathError("fchown", name, err)
		}
	}
	if st.Mode&0o7777 != h.Mode || chowned && h.Mode&0o6000 != 0 {
		if err := unix.Fchmod(fd, h.Mode); err != nil {
			return pathError("fchmod", name, err)
		}
	}
	if err := a.setXattrs(fd, name, h); err != nil {
		return err
	}
	return setTimes(fd, name, h.Mtime)
}

// setXattrs sets the extended attributes of h but for overlay's own, by which
// an image could make the mount show files of other directories. fd may be an O_PATH descriptor.
func (a *applier) setXattrs(fd int, name string, h *ustar.Header) error {
	for _, x := range h.Xattrs {
		if isOverlayXattr(x.Name) {
			continue
		}
		err := unix.Setxattr(rootpath.ProcPath(fd), x.Name, []byte(x.Value), 0)
		// Not every file system takes every name, and without privileges only user.* is free.
		if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) {
			a.res.Skipped++
			continue
		}
		if err != nil {
			return pathError("setxattr "+quote(x.Name), name, err)
		}
	}
	return nil
}

func isOverlayXattr(name string) bool {
	return strings.HasPrefix(name, xattrTrusted) || strings.HasPrefix(name, xattrUser)
}

// setTimes sets mtime, and atime to the same; fd may be an O_PATH descriptor (Linux 5.8).
func setTimes(fd int, name string, t ustar.Time) error {
	return pathError("utimensat", name, unix.UtimesNanoAt(fd, "", times(t), unix.AT_EMPTY_PATH))
}

func times(t ustar.Time) []unix.Timespec {
	ts := unix.Timespec{Sec: t.Sec, Nsec: t.Nsec}
	return []unix.Timespec{ts, ts}
}
