package copy

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/storage/archive"
	"berth/internal/storage/archive/ustar"
)

// unpack unpacks the file of p into the directory dest, if it is a tar archive,
// plain or packed; anything else is left to be copied. Files get the owners
// that the archive says, or that of --chown; --chmod does not count.
func (t *target) unpack(ctx context.Context, p *part, dest string) (done bool, err error) {
	var st unix.Stat_t
	if p.item.Stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return false, nil
	}
	fd, err := p.item.tree.OpenFile(p.item.Dir, p.item.Name, &st)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	if ok := isArchive(fd); !ok {
		return false, nil
	}
	if _, err := unix.Seek(fd, 0, io.SeekStart); err != nil {
		return false, err
	}
	packed, err := source.Unpack(reader(fd))
	if err != nil {
		return false, err
	}
	defer packed.Close()
	dir, err := t.makeDirs(dest, 0o755)
	if err != nil {
		return false, err
	}
	defer unix.Close(dir)
	var before unix.Stat_t
	if err := unix.Fstat(dir, &before); err != nil {
		return false, err
	}
	o := archive.ApplyOptions{Base: dest, Plain: true, Compressed: packed.Taken}
	if t.owner != nil {
		own := *t.owner
		o.MapOwner = func(uint32, uint32) (uint32, uint32, error) { return own.UID, own.GID, nil }
	}
	res, err := archive.Apply(ctx, t.root, packed, o)
	if err == nil && res.Root {
		// An entry for the archive's own root says nothing about the directory it is unpacked into.
		err = restore(dir, &before)
	}
	return true, err
}

// restore gives an open directory the attributes it had.
func restore(dir int, before *unix.Stat_t) error {
	if err := unix.Fchown(dir, int(before.Uid), int(before.Gid)); err != nil {
		return os.NewSyscallError("chown", err)
	}
	return os.NewSyscallError("chmod", unix.Fchmod(dir, before.Mode&0o7777))
}

// isArchive reports whether the first entry of a tar archive can be read from fd.
func isArchive(fd int) bool {
	packed, err := source.Unpack(reader(fd))
	if err != nil {
		return false
	}
	defer packed.Close()
	_, err = ustar.NewReader(packed, nil, ustar.Limits{}).Next()
	return err == nil
}

// reader reads a descriptor that the caller closes.
type reader int

func (r reader) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(r), p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, &errdefs.Error{Op: "read", Subject: "the archive", Err: err}
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}
