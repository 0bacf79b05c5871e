package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/units"
)

// Prune removes all stopped containers and returns their ids and the bytes freed.
func (c *Containers) Prune(ctx context.Context, f Filters) (ids []string, freed int64, err error) {
	selects, err := pruneFilter(f, time.Now())
	if err != nil {
		return nil, 0, err
	}
	c.e.reconcile(ctx)
	states, err := c.e.store.States()
	if err != nil {
		return nil, 0, err
	}
	var errs []error
	for i := range states {
		st := &states[i]
		if ctx.Err() != nil {
			return ids, freed, context.Cause(ctx)
		}
		if st.Status.Live() || !selects(st) {
			continue
		}
		size, err := c.e.snapshots.Usage(st.ID)
		if err != nil {
			size = 0 // a rootfs of the user's own, or a damaged layer: nothing known is freed
		}
		switch err := c.Remove(ctx, st.ID, RemoveOptions{}); {
		case err == nil:
			ids, freed = append(ids, st.ID), freed+size
		case errors.Is(err, errdefs.NotFound), errors.Is(err, errdefs.Conflict): // removed or started since
		default:
			errs = append(errs, err)
		}
	}
	return ids, freed, errors.Join(errs...)
}

// pruneFilter returns the test for what may be removed.
func pruneFilter(f Filters, now time.Time) (func(*container.State) bool, error) {
	var until time.Time
	for key, values := range f {
		switch key {
		case "label", "label!":
		case "until":
			for _, v := range values {
				t, err := units.ParseTime(v, now)
				if err != nil {
					return nil, err
				}
				until = earlier(until, t)
			}
		default:
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).
				WithHint("container prune is filtered by until, label and label!")
		}
	}
	return func(s *container.State) bool {
		if !until.IsZero() && !s.Created.Before(until) || !hasLabels(s.Labels, f["label"]) {
			return false
		}
		return !slices.ContainsFunc(f["label!"], func(l string) bool { return hasLabels(s.Labels, []string{l}) })
	}, nil
}
