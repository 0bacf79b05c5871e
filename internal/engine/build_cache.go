package engine

import (
	"context"
	"time"

	"berth/internal/build/cache"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
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

// minState is how many digits of a build state's id a name must have to be taken
// for one: short names in hexadecimal digits, such as "dead", are rather images.
const minState = 12

// buildState returns what a build had made at one of its steps, by the id that
// `builder du` shows or a failed build tells, in the form of an image. It is no
// image: it has no name, no list shows it, and it goes when the cache forgets it.
//
// Preconditions: the catalog's lock is held, until a container stands on the layer.
func (e *Engine) buildState(id string) (*catalog.Image, error) {
	if len(id) < minState {
		return nil, errdefs.New(errdefs.NotFound, "no such build state: %s", id)
	}
	r, err := cache.Open(e.opt.DataRoot).State(id)
	if err != nil {
		return nil, err
	}
	img := &catalog.Image{ID: r.Key, TopLayer: r.Layer}
	if r.Config != nil {
		img.Config.Config = *r.Config
	}
	return img, nil
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
