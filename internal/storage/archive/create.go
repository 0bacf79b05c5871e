package archive

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive/ustar"
)

// regular makes a file: open, write, what the new file does not have yet of
// owner and mode, mtime, close. For most files of an image that is five system calls.
func (a *applier) regular(parent int, base string, h *ustar.Header, own owner) error {
	fd := -1
	err := a.place(parent, base, "openat", func() (err error) {
		fd, err = openAt(parent, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, h.Mode&0o777)
		return err
	})
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	extents, sparse := a.tar.Sparse()
	if err := a.recordFile(parent, base, h.Size, extents, sparse); err != nil {
		return err
	}
	if sparse {
		err = a.writeSparse(fd, base, h.Size, extents)
	} else {
		err = a.writeData(fd, base)
	}
	if err != nil {
		return err
	}
	a.res.Bytes += h.Size
	return a.attributes(fd, base, h, own)
}

func (a *applier) writeData(fd int, base string) error {
	var done int64
	for {
		chunk, err := a.tar.Data()
		if err != nil || len(chunk) == 0 {
			return err
		}
		if err := a.write(fd, base, chunk, -1); err != nil {
			return err
		}
		done += int64(len(chunk))
		if err := a.between(done); err != nil {
			return err
		}
	}
}

// writeSparse puts each run where it belongs and leaves the holes to the file system.
func (a *applier) writeSparse(fd int, base string, size int64, extents []ustar.Extent) error {
	var done int64
	var chunk []byte
	for _, e := range extents {
		for e.Length > 0 {
			if len(chunk) == 0 {
				var err error
				if chunk, err = a.tar.Data(); err != nil {
					return err
				}
				if err := a.between(done); err != nil {
					return err
				}
			}
			n := int(min(int64(len(chunk)), e.Length))
			if err := a.write(fd, base, chunk[:n], e.Offset); err != nil {
				return err
			}
			chunk = chunk[n:]
			e.Offset += int64(n)
			e.Length -= int64(n)
			done += int64(n)
		}
	}
	return pathError("ftruncate", base, unix.Ftruncate(fd, size))
}

// between is called between the pieces of a large file.
func (a *applier) between(done int64) error {
	if err := context.Cause(a.ctx); err != nil {
		return &errdefs.Error{Kind: errdefs.Cancelled, Err: err}
	}
	return a.ratio(a.res.Bytes + done)
}

// write writes all of p, at offset unless that is negative.
func (a *applier) write(fd int, base string, p []byte, offset int64) error {
	for len(p) > 0 {
		var n int
		var err error
		if offset < 0 {
			n, err = unix.Write(fd, p)
		} else {
			n, err = unix.Pwrite(fd, p, offset)
			offset += int64(max(n, 0))
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return pathError("write", base, err)
		}
		p = p[max(n, 0):]
	}
	return nil
}

// directory makes a directory or takes the one that is there.
func (a *applier) directory(parent int, name, base string, h *ustar.Header, own owner) error {
	delete(a.implied, name)
	err := unix.Mkdirat(parent, base, 0o700)
	if err == nil {
		return a.remember(name, h, own)
	}
	if !errors.Is(err, unix.EEXIST) {
		return pathError("mkdirat", base, err)
	}
	var st unix.Stat_t
	if err := fstatAt(parent, base, &st); err != nil {
		return err
	}
	opaque := false
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		if a.o.KeepKinds {
			return errdefs.New(errdefs.Conflict, "cannot overwrite non-directory with directory")
		}
		opaque = !a.o.Plain && isWhiteout(&st)
		err := a.place(parent, base, "mkdirat", func() error { return unix.Mkdirat(parent, base, 0o700) })
		if err != nil {
			return err
		}
	}
	if opaque {
		fd, err := a.dirs.get(name, false)
		if err != nil {
			return err
		}
		if err := a.setOpaque(fd); err != nil {
			return err
		}
	}
	return a.remember(name, h, own)
}

func (a *applier) symlink(parent int, base string, h *ustar.Header, own owner) error {
	if h.Link == "" {
		return errdefs.New(errdefs.InvalidArgument, "a symbolic link to nothing")
	}
	// The target is text for whoever follows the link, in the container's own root: any text will do.
	err := a.place(parent, base, "symlinkat", func() error { return unix.Symlinkat(h.Link, parent, base) })
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := fstatAt(parent, base, &st); err != nil {
		return err
	}
	if st.Uid != own.uid || st.Gid != own.gid {
		if err := unix.Fchownat(parent, base, int(own.uid), int(own.gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return pathError("fchownat", base, err)
		}
	}
	if len(h.Xattrs) > 0 {
		fd, err := openAt(parent, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return pathError("openat", base, err)
		}
		defer unix.Close(fd)
		if err := a.setXattrs(fd, base, h); err != nil {
			return err
		}
	}
	return pathError("utimensat", base, unix.UtimesNanoAt(parent, base, times(h.Mtime), unix.AT_SYMLINK_NOFOLLOW))
}

// hardlink makes one more name of a file of this layer. The name to link to is
// resolved inside the root like any other, and its last element not followed:
// a link to a symbolic link is a second name of that link.
func (a *applier) hardlink(parent int, base string, h *ustar.Header, own owner) error {
	target, err := cleanName(h.Link)
	if err != nil {
		return err
	}
	if target == "" {
		return errdefs.New(errdefs.InvalidArgument, "a hard link to the root")
	}
	dir, last := splitLast(target)
	from, err := a.dirs.get(dir, false)
	if err != nil {
		return err
	}
	var st, have unix.Stat_t
	if err := fstatAt(from, last, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return errdefs.New(errdefs.InvalidArgument, "a hard link to the directory %s", quote(h.Link))
	}
	if !a.o.Plain && isWhiteout(&st) {
		return errdefs.New(errdefs.InvalidArgument, "a hard link to the deleted file %s", quote(h.Link))
	}
	if fstatAt(parent, base, &have) != nil || have.Ino != st.Ino || have.Dev != st.Dev {
		err := a.place(parent, base, "linkat", func() error { return unix.Linkat(from, last, parent, base, 0) })
		if err != nil {
			return err
		}
	}
	// The header repeats the file's attributes; where it differs it counts, as the later word.
	if st.Mode&unix.S_IFMT == unix.S_IFLNK || st.Mode&0o7777 == h.Mode && st.Uid == own.uid && st.Gid == own.gid && st.Mtim.Sec == h.Mtime.Sec && len(h.Xattrs) == 0 {
		return nil
	}
	return a.pathAttributes(parent, base, st.Mode&unix.S_IFMT, h, own)
}

// special makes a device node or FIFO. Without the right to make devices (in a
// user namespace nobody has it) they are left out, as Docker does.
func (a *applier) special(parent int, base string, h *ustar.Header, own owner) error {
	kind, dev := uint32(unix.S_IFIFO), 0
	switch h.Type {
	case ustar.TypeChar:
		kind, dev = unix.S_IFCHR, int(unix.Mkdev(h.Major, h.Minor))
	case ustar.TypeBlock:
		kind, dev = unix.S_IFBLK, int(unix.Mkdev(h.Major, h.Minor))
	}
	refused := false
	err := a.place(parent, base, "mknodat", func() error {
		err := unix.Mknodat(parent, base, kind|h.Mode&0o777, dev)
		refused = errors.Is(err, unix.EPERM) && kind != unix.S_IFIFO
		return err
	})
	if refused {
		a.res.Skipped++
		return nil
	}
	if err != nil {
		return err
	}
	return a.pathAttributes(parent, base, kind, h, own)
}

// pathAttributes sets the attributes of a file that must not be opened. It is
// pinned first, so that what is changed is what was looked at.
func (a *applier) pathAttributes(parent int, base string, kind uint32, h *ustar.Header, own owner) error {
	fd, err := openAt(parent, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("openat", base, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("fstat", base, err)
	}
	if st.Mode&unix.S_IFMT != kind {
		return errdefs.New(errdefs.Conflict, "the file was replaced while it was made")
	}
	if st.Uid != own.uid || st.Gid != own.gid {
		if err := unix.Fchownat(fd, "", int(own.uid), int(own.gid), unix.AT_EMPTY_PATH); err != nil {
			return pathError("fchownat", base, err)
		}
	}
	// Always after a change of owner, which takes set-id bits away.
	if err := unix.Chmod(rootpath.ProcPath(fd), h.Mode); err != nil {
		return pathError("chmod", base, err)
	}
	if err := a.setXattrs(fd, base, h); err != nil {
		return err
	}
	return setTimes(fd, base, h.Mtime)
}
