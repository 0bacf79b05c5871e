package engine

import (
	"context"
	"errors"
	"time"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
)

// Prune removes dangling images, or with all every image no container uses, and
// then whatever killed commands left in the store; of downloads that ended
// early, without all, those of the last day stay. It returns what it removed
// and the bytes that became free.
func (i *Images) Prune(ctx context.Context, all bool, f Filters) (removed []RemovedImage, freed int64, err error) {
	for key, values := range f {
		switch key {
		case "until", "label", "label!":
		case "dangling":
			for _, v := range values {
				dangling, err := parseFilterBool(v)
				if err != nil {
					return nil, 0, err
				}
				all = !dangling
			}
		default:
			return nil, 0, errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).
				WithHint("image prune is filtered by until, label and label!")
		}
	}
	r, err := i.e.beginRemoval()
	if err != nil {
		return nil, 0, err
	}
	err = r.prune(ctx, all, f)
	removed, err = r.end(ctx, err)
	return removed, r.freed, err
}

func (r *imageRemoval) prune(ctx context.Context, all bool, f Filters) error {
	filter, err := r.images.newFilter(r.e, "", f)
	if err != nil {
		return err
	}
	for _, e := range r.images.entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !filter.selects(e) || len(e.Tags)+len(e.Digests) == 0 && len(r.images.children[e.ID]) > 0 {
			continue // a child's removal takes its parent along
		}
		if err := r.pruneImage(e, all); err != nil {
			return err
		}
	}
	if err := r.sweep(); err != nil || len(f) > 0 {
		return err
	}
	return r.sweepDownloads(all)
}

// resumable is how long a prune without all leaves a download that ended early:
// its user may be about to pull again.
const resumable = 24 * time.Hour

// sweepDownloads removes what interrupted pulls have left to go on from.
func (r *imageRemoval) sweepDownloads(all bool) error {
	before := time.Now()
	if !all {
		before = before.Add(-resumable)
	}
	freed, err := r.e.images.SweepDownloads(before)
	r.freed += freed
	return err
}

// pruneImage removes an image by each of its names, or by its id if it has none.
// That something uses it is no error here.
func (r *imageRemoval) pruneImage(e catalog.Entry, all bool) error {
	refs := append(append([]string{}, e.Tags...), e.Digests...)
	switch {
	case len(refs) == 0:
		refs = []string{e.ID.Hex()}
	case !all && len(e.Tags) > 0:
		return nil
	}
	for _, ref := range refs {
		err := r.remove(ref, false, true)
		if err != nil && !errors.Is(err, errdefs.Conflict) && !errors.Is(err, errdefs.NotFound) {
			return err
		}
	}
	return nil
}

// sweep removes layers that nothing uses any more, as after `image rm -f` under
// a container that is gone now, and the traces of killed commands.
func (r *imageRemoval) sweep() error {
	layers, err := r.right.Sweep(r.inUse)
	r.note(layers)
	if err != nil {
		return err
	}
	containers := make(map[string]bool, len(r.containers))
	for _, st := range r.containers {
		containers[st.ID] = true
	}
	return r.right.GC(func(id string) bool { return containers[id] || r.inUse(id) })
}
