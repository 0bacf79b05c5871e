package solve

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/portable"
	"berth/internal/build/progress"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
)

// A step that is in a cache from elsewhere (Options.Imports) is found by its key
// alone, and its layers stay where they are until somebody needs the files: a
// program that runs on them, a copy out of them, the result. Then they are
// fetched, from the base up, and are steps of the own cache from then on.

// idle is a step that was found elsewhere and changed nothing.
type idle struct {
	key  oci.Digest
	on   int // how many layers it stands on
	text string
}

// lostError says that what was found elsewhere cannot be had. The imports are
// forgotten then, and the stage begins again.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// imageKey is the key of the files of an image, by the diff ids of its layers.
func imageKey(diffIDs []oci.Digest) oci.Digest {
	k := cache.NewKey("image")
	if chain := catalog.ChainIDs(diffIDs); len(chain) > 0 {
		k.Add("chain", string(chain[len(chain)-1]))
	}
	return k.Sum()
}

// baseChain is the chain id of the base image's layers, "" without one.
func (st *state) baseChain() oci.Digest {
	if st.image == nil {
		return ""
	}
	chain := catalog.ChainIDs(st.image.Config.RootFS.DiffIDs)
	if len(chain) == 0 {
		return ""
	}
	return chain[len(chain)-1]
}

// lookUp finds the step that made next.key in this cache or elsewhere, without
// bringing anything here.
func (s *solver) lookUp(ctx context.Context, w *work, next state) (state, bool, error) {
	if s.o.Imports.Empty() && !w.below.pending || s.skipsCache(w.stage.Stage) {
		return next, false, nil // s.layer looks, under the step's lock
	}
	if !w.below.pending {
		r, err := s.cache.Get(ctx, s.lease, next.key, w.below.layer)
		if err != nil {
			return next, false, err
		}
		if r != nil {
			s.note(r)
			if l := found(r); l != nil {
				next = next.with(*l)
			}
			return next, true, nil
		}
	}
	stack, ok := s.o.Imports.Find(next.key, w.below.baseChain())
	n := len(w.below.layers)
	if !ok || len(stack) < n || len(stack) > n+1 { // the history counts one layer for each step at most
		return next, false, nil
	}
	if next = next.elsewhere(stack); len(stack) == n {
		next.idle = append(slices.Clip(next.idle), idle{next.key, n, w.step.Text})
	}
	if s.o.Name != nil {
		if err := s.here(ctx, &next); err != nil {
			return next, false, err
		}
	}
	return next, true, nil
}

// elsewhere is the state on the layers of a stack, of which those that are here
// already stay as they are.
func (st state) elsewhere(stack []*portable.Stacked) state {
	layers := make([]Layer, len(stack))
	same := true
	for i, l := range stack {
		same = same && i < len(st.layers) && st.layers[i].ID != "" && st.layers[i].DiffID == l.DiffID
		if same {
			layers[i] = st.layers[i]
			continue
		}
		layers[i] = Layer{Key: l.Key, DiffID: l.DiffID, Created: l.Created, Size: l.Size, Text: l.Text, Cached: true, from: l}
	}
	if len(layers) > len(st.layers) {
		st.layers = layers[:len(layers)-1]
		st = st.with(layers[len(layers)-1])
	}
	st.layer, st.layers, st.pending = "", layers, true
	return st
}

// standing brings the files below a step here, and returns the state after it
// standing on them.
func (s *solver) standing(ctx context.Context, w *work, next state) (state, error) {
	if !w.below.pending {
		return next, nil
	}
	if err := s.here(ctx, &w.below); err != nil {
		return next, err
	}
	next.layer, next.layers, next.pending, next.idle = w.below.layer, w.below.layers, false, nil
	return next, nil
}

// here brings the files of a state here.
func (s *solver) here(ctx context.Context, at *state) error {
	if !at.pending {
		return nil
	}
	layers, below := slices.Clone(at.layers), ""
	if at.image != nil {
		below = at.image.TopLayer
	}
	for i := 0; ; i++ {
		for _, step := range at.idle {
			if step.on == i {
				if err := s.put(ctx, cache.Record{Key: step.key, Type: cache.Regular, Layer: below, Below: below, Created: s.now(), Text: step.text}, nil); err != nil {
					return err
				}
			}
		}
		if i == len(layers) {
			break
		}
		if l := &layers[i]; l.ID == "" {
			var err error
			if l.ID, err = s.bring(ctx, l, below); err != nil {
				return err
			}
			l.from = nil
		}
		below = layers[i].ID
	}
	at.layer, at.layers, at.pending, at.idle = below, layers, false, nil
	return nil
}

// bring returns the id of a layer from elsewhere on the one below: it may be
// here by now, as a step of an earlier build or in an image.
func (s *solver) bring(ctx context.Context, l *Layer, below string) (string, error) {
	unlock, err := s.cache.Lock(ctx, l.Key)
	if err != nil {
		return "", err
	}
	defer unlock()
	r, err := s.cache.Get(ctx, s.lease, l.Key, below)
	if err != nil {
		return "", err
	}
	if r != nil && r.Changed() && r.DiffID == l.DiffID {
		s.note(r)
		return r.Layer, nil
	}
	record := cache.Record{Key: l.Key, Type: cache.Regular, Below: below, DiffID: l.DiffID, Size: l.Size, Created: l.Created, Text: l.Text}
	have, ok, err := s.lease.UseLayer(l.from.Chain)
	if err != nil {
		return "", err
	}
	if ok {
		if lies, err := s.layers.Parent(have.Snapshot); err == nil && lies == below {
			record.Layer = have.Snapshot
			return have.Snapshot, s.put(ctx, record, nil)
		}
	}
	v := progress.Vertex{Name: fmt.Sprintf("fetching layer %s from %s", ident.Short(l.from.Blob.Digest.Hex()), l.from.From())}
	v.ID = cache.NewKey("vertex").Add("fetch", string(l.from.Chain)).Sum()
	s.o.Events.Send(&progress.Started{Vertex: v, Time: time.Now()})
	err = s.fetch(ctx, l, &record)
	var told error
	if err != nil {
		told = cancelled(ctx) // the build goes on without
		if ctx.Err() == nil {
			told = &errdefs.Error{Kind: errdefs.Cancelled, Err: err}
			s.o.Imports.Lose(l.from, err)
			err = &lostError{err}
		}
	}
	s.finish(v.ID, "", false, told)
	return record.Layer, err
}

// fetch unpacks a layer on the one below. Its bytes are compared with their
// digests, and its files are such that their tar is the same again: berth made it.
func (s *solver) fetch(ctx context.Context, l *Layer, r *cache.Record) (err error) {
	d, err := s.layers.Begin(r.Below)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	packed, err := l.from.Open(ctx)
	if err != nil {
		return err
	}
	res, err := transfer.UnpackLayer(ctx, d.Dir(), l.from.Blob, packed)
	if err != nil {
		return err
	}
	dir, err := os.Open(d.Dir())
	if err != nil {
		return err
	}
	defer dir.Close()
	sum := sha256.New()
	if _, err := archive.Diff(ctx, sum, dir, archive.DiffOptions{Root: res.Root}); err != nil {
		return err
	}
	for _, got := range [...]oci.Digest{res.DiffID, oci.DigestOfSum(sum.Sum(nil))} {
		if got != l.DiffID {
			return errdefs.New(errdefs.InvalidArgument, "layer %s unpacks to %s, not to %s", l.from.Blob.Digest, got, l.DiffID)
		}
	}
	if r.Size, err = snapshot.TreeSize(d.Dir()); err != nil {
		return err
	}
	r.Layer = d.ID()
	return s.put(ctx, *r, func() error {
		_, err := d.CommitUnsynced(ctx)
		return err
	})
}

// settle builds a stage, once more if what was found elsewhere could not be had.
func (s *solver) settle(ctx context.Context, st *stage) (state, error) {
	for {
		at, err := s.build(ctx, st)
		if err == nil && (st.Stage == s.plan.Target() || s.o.Everything) {
			if err = s.here(ctx, &at); err == nil {
				s.keep(Step{Key: at.key, Base: at.image, Layers: at.layers}) // which are here now
			}
		}
		var lost *lostError
		if err == nil || !errors.As(err, &lost) {
			return at, err
		}
	}
}

// files waits for a stage and brings its files here. If they cannot be had from
// elsewhere after all, the stage is built anew.
func (s *solver) files(ctx context.Context, st *plan.Stage) (state, error) {
	at, err := s.wait(ctx, st)
	if err != nil || !at.pending {
		return at, err
	}
	err = s.here(ctx, &at)
	var lost *lostError
	if err == nil || !errors.As(err, &lost) {
		return at, err
	}
	other := s.stages[st]
	other.again.Do(func() {
		other.remade, other.remadeErr = s.settle(ctx, other)
		if other.remadeErr == nil {
			other.remadeErr = s.here(ctx, &other.remade)
		}
	})
	return other.remade, other.remadeErr
}

// keep adds a step to those that a cache for elsewhere is made of.
func (s *solver) keep(st Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, st)
}
