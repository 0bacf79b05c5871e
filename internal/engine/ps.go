package engine

import (
	"cmp"
	"context"
	"slices"

	"berth/internal/container"
	"berth/internal/oci"
)

// List returns the containers that o selects, newest first. Without All, Last
// or a status filter those are the ones that run.
func (c *Containers) List(ctx context.Context, o ListOptions) ([]Summary, error) {
	c.e.reconcile(ctx)
	states, err := c.e.store.States()
	if err != nil {
		return nil, err
	}
	filter, err := c.e.newPsFilter(o.Filters, states)
	if err != nil {
		return nil, err
	}
	all := o.All || o.Last > 0 || len(o.Filters["status"]) > 0
	slices.SortFunc(states, func(a, b container.State) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	list := make([]Summary, 0, len(states))
	for i := range states {
		if o.Last > 0 && len(list) == o.Last {
			break
		}
		if !all && !states[i].Status.Live() {
			continue
		}
		ok, err := filter.selects(&states[i])
		if err != nil {
			return nil, err
		}
		if ok {
			if !states[i].Status.Live() {
				states[i].Ports = nil // they are another's to take now
			}
			list = append(list, Summary{State: states[i], SizeRw: -1, SizeRootFs: -1})
		}
	}
	if o.Size {
		c.e.addSizes(ctx, list)
	}
	return list, ctx.Err()
}

// addSizes fills the sizes in. What cannot be measured, because the container
// is being removed or its image is gone, stays -1.
func (e *Engine) addSizes(ctx context.Context, list []Summary) {
	images := map[string]int64{} // many containers are of few images
	for i := range list {
		if ctx.Err() != nil {
			return
		}
		s := &list[i]
		if s.ImageID == "" {
			continue // the rootfs is the user's own directory
		}
		if _, ok := images[s.ImageID]; !ok {
			images[s.ImageID] = e.imageSize(s.ImageID)
		}
		s.SizeRw, s.SizeRootFs = e.containerSize(s.ID, images[s.ImageID])
	}
}

// imageSize returns the size of an image's layers, or -1.
func (e *Engine) imageSize(id string) int64 {
	img, err := e.images.Get(oci.Digest(id))
	if err != nil {
		return -1
	}
	size, err := e.images.Size(img)
	if err != nil {
		return -1
	}
	return size
}

// containerSize returns the size of the writable layer and of all layers.
func (e *Engine) containerSize(id string, image int64) (rw, rootfs int64) {
	rw, err := e.snapshots.Usage(id)
	switch {
	case err != nil:
		return -1, -1
	case image < 0:
		return rw, -1
	}
	return rw, rw + image
}
