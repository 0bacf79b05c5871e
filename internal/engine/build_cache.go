package engine

import (
	"context"
	"time"

	"berth/internal/build/cache"
	"berth/internal/units"
)

// spareBuildCache makes the removal leave what the build cache stands on: its
// layers may lie on those of an image that is removed.
func (r *imageRemoval) spareBuildCache() error {
	cached, err := cache.Open(r.e.opt.DataRoot).Layers()
	if err != nil {
		return err
	}
	containers := r.inUse
	r.inUse = func(layer string) bool { return containers(layer) || cached(layer) }
	return nil
}

// PruneBuildCache removes what no running build stands on from the build cache,
// and the layers that then belong to nobody; with all also the records of layers
// that an image has. Of the filters it knows until; what has a label is no
// business of the cache, so with any other filter nothing is removed. It returns
// the ids of what was removed, and the bytes freed.
func (s *System) PruneBuildCache(ctx context.Context, all bool, f Filters) (ids []string, freed int64, err error) {
	o := cache.PruneOptions{All: all}
	for key, values := range f {
		if key != "until" {
			return nil, 0, nil
		}
		for _, v := range values {
			until, err := units.ParseTime(v, time.Now())
			if err != nil {
				return nil, 0, err
			}
			more := o.Match
			o.Match = func(i *cache.Item) bool { return i.LastUsed.Before(until) && (more == nil || more(i)) }
		}
	}
	gone, err := cache.Open(s.e.opt.DataRoot).Prune(ctx, o)
	for _, i := range gone.Items {
		ids = append(ids, i.ID)
	}
	return ids, gone.Freed, err
}
