package engine

import (
	"context"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/storage/archive"
)

// Diff returns the paths that differ from the image, sorted. What berth itself
// puts into a root filesystem (mount points, /etc/hosts) is in the init layer
// below the container's own and so is no difference.
func (c *Containers) Diff(ctx context.Context, ref string) ([]Change, error) {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return nil, err
	}
	rec, err := c.e.store.Load(id)
	if err != nil {
		return nil, err
	}
	if rec.HostConfig.Rootfs != "" {
		return nil, errdefs.New(errdefs.Unsupported, "container %s has a rootfs of its own and no image to differ from", ident.Short(id))
	}
	lowers, err := c.e.snapshots.Lowers(id)
	if err != nil {
		return nil, err
	}
	found, err := archive.Changes(ctx, c.e.snapshots.Diff(id), lowers)
	if err != nil {
		return nil, err
	}
	changes := make([]Change, len(found))
	for i, ch := range found {
		changes[i] = Change(ch)
	}
	return changes, nil
}
