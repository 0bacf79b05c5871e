package solve

import (
	"context"

	"berth/internal/build/cache"
	"berth/internal/build/copy"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// link is COPY --link: the layer is made on nothing, by a key that does not
// depend on what is below, and then appears on top of whatever the stage stands
// on, as hard links. A new base image below costs no copying.
func (s *solver) link(ctx context.Context, w *work, c *copying, next state) (state, bool, error) {
	if c.op.Chown != "" {
		var err error
		if next, err = s.standing(ctx, w, next); err != nil {
			return next, false, err
		}
		// The names mean what they mean in the stage, on which the layer does not lie.
		tree, err := s.layers.MountTree(ctx, w.below.layer)
		if err != nil {
			return next, false, err
		}
		c.owner, err = copy.LookUpOwner(tree, c.op.Chown)
		tree.Close()
		if err != nil {
			return next, false, err
		}
	}
	if err := c.open(ctx, w); err != nil {
		return next, false, err
	}
	alone := c.describe(cache.NewKey("link")).Sum()
	next.key = linkedKey(w.below.key, alone)
	if have, ok, err := s.lookUp(ctx, w, next); err != nil || ok {
		return have, true, err
	}
	next, err := s.standing(ctx, w, next)
	if err != nil {
		return next, false, err
	}
	if err := c.need(ctx); err != nil {
		return next, false, err
	}
	on := *w
	on.below = emptyState()
	l, cached, err := s.layer(ctx, &on, alone, cache.Regular)
	if err != nil || l == nil {
		return next, cached, err
	}
	again := *w
	again.op, again.exact = &relay{from: l.ID}, true
	key, _ := again.op.key(ctx, &again) //nolint:errcheck // it only digests two names
	placed, _, err := s.layer(ctx, &again, key, cache.Regular)
	if err != nil || placed == nil {
		return next, cached, err
	}
	placed.Created, placed.DiffID = l.Created, l.DiffID
	return next.with(*placed), cached, nil
}

// linkedKey is the key of the files below with the link's layer on top.
func linkedKey(below, alone oci.Digest) oci.Digest {
	return cache.NewKey("linked").Add("below", string(below)).Add("link", string(alone)).Sum()
}

// relay lays a layer on another one.
type relay struct{ from string }

func (r *relay) key(_ context.Context, w *work) (oci.Digest, error) {
	return cache.NewKey("relay").Add("layer", r.from).Add("onto", w.below.layer).Sum(), nil
}

func (r *relay) need(context.Context) error { return nil }

func (r *relay) make(ctx context.Context, _ *work, d *snapshot.Draft) error {
	return d.FillFrom(ctx, r.from)
}

func (r *relay) close() error { return nil }
