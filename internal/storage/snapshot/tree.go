package snapshot

import (
	"context"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/overlay"
)

// MountTree shows an image layer with all that lie below it as one tree,
// read-only. The mount is detached: nobody else sees it, and it ends when the
// caller closes it. A single layer is shown as it is, without an overlay.
//
// Preconditions: the layer cannot be removed meanwhile (catalog.Store.Hold).
func (s *Store) MountTree(ctx context.Context, id string) (*os.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	lower, err := s.lowerOf(id)
	if err != nil {
		return nil, err
	}
	var f *os.File
	if layers := strings.Split(lower, ":"); len(layers) == 1 {
		f, err = cloneReadOnly(s.Diff(id))
	} else {
		f, err = overlay.Mount(overlay.Options{Base: s.dir, Lower: layers, Staging: s.Path(id) + "/work"})
	}
	return f, errdefs.Wrap(err, "mount layer", ident.Short(id))
}

// cloneReadOnly makes a detached read-only mount of a directory.
func cloneReadOnly(dir string) (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, &os.PathError{Op: "open_tree", Path: dir, Err: err}
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "mount_setattr", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}
