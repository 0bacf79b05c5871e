package snapshot

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive"
)

// CopyAttributes gives the directory to the mode, owner and extended attributes of from.
func CopyAttributes(from, to string) error { return copyAttributes(from, to, false) }

// FillFrom fills an empty draft with the files of a layer, so that it is the
// same layer on another parent. The files are hard links: nothing is copied,
// and layers never change. Where the file system cannot link them (too many
// links, too deep), they are copied.
//
// If the layer did not change the root directory of what it lies on, the
// draft's root is that of its own parent.
func (d *Draft) FillFrom(ctx context.Context, layer string) error {
	return errdefs.Wrap(d.fillFrom(ctx, layer), "lay again", "layer "+ident.Short(layer))
}

func (d *Draft) fillFrom(ctx context.Context, layer string) error {
	from := d.s.Diff(layer)
	keeps, err := d.s.RootChanged(layer)
	if err != nil {
		return err
	}
	d.synced = false
	err = linkTree(ctx, from, d.Dir())
	if errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENAMETOOLONG) {
		if err = rootpath.RemoveAll(int(d.lock.Fd()), "diff"); err == nil {
			err = d.copyTree(ctx, from)
		}
	}
	if err == nil && keeps {
		err = copyAttributes(from, d.Dir(), true)
	}
	return err
}

// copyTree is linkTree by copying.
func (d *Draft) copyTree(ctx context.Context, from string) error {
	if err := d.prepare(); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	into, err := os.Open(d.Dir())
	if err != nil {
		return err
	}
	defer into.Close()
	_, err = archive.CopyLayer(ctx, src, into, archive.DiffOptions{})
	return err
}

// RootChanged reports whether a layer changed the mode or owner of the root
// directory that it lies on; see archive.RootChanged.
func (s *Store) RootChanged(layer string) (bool, error) {
	parent, err := s.Parent(layer)
	if err != nil {
		return false, err
	}
	upper, err := os.Open(s.Diff(layer))
	if err != nil {
		return false, err
	}
	defer upper.Close()
	var below *os.File
	if parent != "" {
		if below, err = os.Open(s.Diff(parent)); err != nil {
			return false, err
		}
		defer below.Close()
	}
	return archive.RootChanged(upper, below)
}

// linkTree makes the directories below from in the directory to, with their
// attributes, and every other file as one more name of the same file.
func linkTree(ctx context.Context, from, to string) error {
	if ctx.Err() != nil {
		return &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		src, dst := from+"/"+e.Name(), to+"/"+e.Name()
		if !e.IsDir() {
			if err := unix.Link(src, dst); err != nil {
				return &os.LinkError{Op: "link", Old: src, New: dst, Err: err}
			}
			continue
		}
		if err := unix.Mkdir(dst, 0o700); err != nil {
			return &os.PathError{Op: "mkdir", Path: dst, Err: err}
		}
		if err := linkTree(ctx, src, dst); err != nil {
			return err
		}
		if err := copyOpaque(src, dst); err != nil {
			return err
		}
		if err := copyAttributes(src, dst, true); err != nil {
			return err
		}
	}
	return nil
}

// copyOpaque repeats overlay's mark of a directory that hides those below it.
func copyOpaque(from, to string) error {
	const mark = overlayXattr + "opaque"
	var value [8]byte
	n, err := unix.Lgetxattr(from, mark, value[:])
	if err != nil {
		return ignoreUnsupported("lgetxattr", from, err)
	}
	if err := unix.Lsetxattr(to, mark, value[:n], 0); err != nil {
		return &os.PathError{Op: "lsetxattr", Path: to, Err: err}
	}
	return nil
}
