package snapshot

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/overlay"
	"berth/internal/linux/userns"
)

// Prepare makes the writable layer id on top of the image whose topmost layer
// is parent, "" for an image without layers. Nothing is synced.
//
// Preconditions: the image cannot be removed meanwhile (catalog.Store.Hold).
func (s *Store) Prepare(id, parent string) error {
	if err := checkID(id); err != nil {
		return err
	}
	lower, initDiff, err := s.initLayer(parent)
	if err != nil {
		return err
	}
	err = s.mkdir(s.Path(id))
	if errors.Is(err, os.ErrExist) {
		return &errdefs.Error{Kind: errdefs.AlreadyExists, Op: "make layer", Subject: ident.Short(id), Err: err}
	}
	if err == nil {
		err = s.fill(id, lower, initDiff)
	}
	if err != nil {
		return errors.Join(errdefs.Wrap(err, "make layer", ident.Short(id)), s.Remove(id))
	}
	return nil
}

func (s *Store) fill(id, lower, initDiff string) error {
	dir := s.Path(id)
	for _, d := range [...]string{"/diff", "/work", "/merged"} {
		if err := s.mkdir(dir + d); err != nil {
			return err
		}
	}
	if err := copyAttributes(initDiff, dir+"/diff", false); err != nil {
		return err
	}
	link := ident.NewLink()
	if err := writeFile(dir+"/link", link); err != nil {
		return err
	}
	if err := writeFile(dir+"/lower", lower); err != nil {
		return err
	}
	return s.symlink(link, id)
}

// MountOptions say how a writable layer is mounted.
type MountOptions struct {
	// Volatile skips all syncs of the layer's content, at unmount above all: for
	// containers that are removed when they end. A power cut may damage the layer.
	Volatile bool
	// Parent is the image's topmost layer, as given to Prepare. With it a lower
	// file that a power cut emptied is written again.
	Parent string
	// IDs, when not nil, is the container's user namespace: the layers keep the
	// container's ids on the disk, the mount shows the host's.
	IDs *userns.Namespace
}

// Mount mounts a writable layer at Merged(id), visible to the whole host. A
// layer that is mounted already is left as it is.
func (s *Store) Mount(ctx context.Context, id string, o MountOptions) error {
	if s.Mounted(id) {
		return nil
	}
	f, err := s.MountDetached(ctx, id, o)
	if err != nil {
		return err
	}
	defer f.Close()
	return errdefs.Wrap(overlay.Attach(f, s.Merged(id)), "mount layer", ident.Short(id))
}

// MountDetached mounts a writable layer without attaching it anywhere; see
// overlay.Mount. The caller may attach it at Merged(id), inside a container, or
// at both places through open_tree(2).
func (s *Store) MountDetached(ctx context.Context, id string, o MountOptions) (*os.File, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	lower, err := s.readLower(id)
	if err != nil || lower == "" {
		if lower, err = s.restoreLower(id, o.Parent, err); err != nil {
			return nil, errdefs.Wrap(err, "mount layer", ident.Short(id))
		}
	}
	f, err := overlay.Mount(overlay.Options{
		Base:     s.dir,
		Lower:    strings.Split(lower, ":"),
		Upper:    id + "/diff",
		Work:     id + "/work",
		Volatile: o.Volatile,
		IDs:      o.IDs,
		Staging:  s.Merged(id),
	})
	return f, errdefs.Wrap(err, "mount layer", ident.Short(id))
}

// restoreLower writes a lost lower file of a writable layer again.
func (s *Store) restoreLower(id, parent string, cause error) (string, error) {
	if parent == "" || !s.Exists(id) {
		if cause == nil {
			cause = ErrDamaged
		}
		return "", cause
	}
	lower, _, err := s.initLayer(parent)
	if err != nil {
		return "", err
	}
	path := s.Path(id) + "/lower"
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return lower, writeFile(path, lower)
}

// Mounted reports whether a writable layer is mounted at Merged(id).
func (s *Store) Mounted(id string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, s.Merged(id), unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// Unmount takes the layer off Merged(id). Who still has files open there keeps
// them; it is no error if the layer is not mounted.
func (s *Store) Unmount(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	return errdefs.Wrap(overlay.Unmount(s.Merged(id), true), "unmount layer", ident.Short(id))
}
