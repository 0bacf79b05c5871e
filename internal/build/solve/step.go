package solve

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
)

// work is one step to be done, or found done.
type work struct {
	stage  *stage
	step   *plan.Step
	index  int // of the step in its stage
	below  state
	vertex oci.Digest
	inputs []oci.Digest // vertexes of other stages
	op     operation
	exact  bool   // the key names what is made by its content: there is never a reason to do it again
	told   bool   // that it failed
	left   string // the build state that a program left that failed
}

func (w *work) close() error { return w.op.close() }

// operation is what a step does, with what it needs opened.
type operation interface {
	// key opens and digests what the step reads.
	key(ctx context.Context, w *work) (oci.Digest, error)
	// need waits for what make reads and key did not have to.
	need(ctx context.Context) error
	// make does it in a draft that lies on the step's layer below.
	make(ctx context.Context, w *work, d *snapshot.Draft) error
	// close closes what key opened.
	close() error
}

// prepare waits for the stages that a step reads from; nil if it changes no files.
func (s *solver) prepare(ctx context.Context, st *stage, i int, below *state) (*work, error) {
	step := &st.Steps[i]
	if step.Op == nil {
		return nil, nil
	}
	w := &work{stage: st, step: step, index: i, below: *below}
	for _, from := range sources(step.Op) {
		if from.Stage == nil || s.isTold(from.Stage) {
			continue
		}
		other, err := s.wait(ctx, from.Stage)
		if err != nil {
			return nil, err
		}
		w.inputs = append(w.inputs, other.vertex)
	}
	switch op := step.Op.(type) {
	case *plan.Run:
		if err := s.permit(op); err != nil {
			return nil, err
		}
		w.op = &run{s: s, op: op}
	case *plan.Copy:
		w.op = &copying{s: s, op: op}
	case *plan.MakeDir:
		w.op = &makeDir{s: s, op: op}
	default:
		return nil, errdefs.New(errdefs.Internal, "unknown operation %T", op)
	}
	return w, nil
}

// do does a step and returns the state after it; cached says that the layer was there.
func (s *solver) do(ctx context.Context, w *work, next state) (state, bool, error) {
	if c, ok := w.op.(*copying); ok && c.op.Link && (w.below.layer != "" || w.below.pending) {
		return s.link(ctx, w, c, next)
	}
	key, err := w.op.key(ctx, w)
	if err != nil {
		return next, false, err
	}
	next.key = key
	if have, ok, err := s.lookUp(ctx, w, next); err != nil || ok {
		return have, true, err
	}
	if next, err = s.standing(ctx, w, next); err != nil {
		return next, false, err
	}
	if err := w.op.need(ctx); err != nil {
		return next, false, err
	}
	l, cached, err := s.layer(ctx, w, key, cache.Regular)
	if err == nil && l != nil {
		next = next.with(*l)
	}
	return next, cached, err
}

// layer returns what the step of a key made on the layer below: it finds the
// layer or makes it, or waits for who is making it. nil: nothing was changed.
func (s *solver) layer(ctx context.Context, w *work, key oci.Digest, kind cache.Type) (*Layer, bool, error) {
	unlock, err := s.cache.Lock(ctx, key)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	if w.exact || !s.skipsCache(w.stage.Stage) {
		r, err := s.cache.Get(ctx, s.lease, key, w.below.layer)
		if err != nil || r != nil {
			s.note(r)
			return found(r), true, err
		}
	}
	done, err := s.working(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	l, err := s.make(ctx, w, cache.Record{Key: key, Type: kind, Below: w.below.layer, Text: w.step.Text, Config: &w.step.Config})
	return l, false, err
}

// found is the layer of a record, nil if the step changed nothing.
func found(r *cache.Record) *Layer {
	if r == nil || !r.Changed() {
		return nil
	}
	return &Layer{ID: r.Layer, Key: r.Key, DiffID: r.DiffID, Created: r.Created, Text: r.Text, Size: r.Size, Cached: true}
}

// make does the step and records what it made.
func (s *solver) make(ctx context.Context, w *work, r cache.Record) (_ *Layer, err error) {
	d, err := s.layers.Begin(w.below.layer)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	if err := w.op.make(ctx, w, d); err != nil {
		if kerr := s.keepFailed(ctx, w, d, err); kerr != nil {
			err = errors.Join(err, kerr)
		}
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, cancelled(ctx)
	}
	r.Created = s.now()
	changed, err := s.changed(d)
	if err != nil {
		return nil, err
	}
	if !changed {
		r.Layer = r.Below
		return nil, s.put(ctx, r, nil)
	}
	if r.Size, err = snapshot.TreeSize(d.Dir()); err != nil {
		return nil, err
	}
	r.Layer = d.ID()
	err = s.put(ctx, r, func() error {
		_, err := d.CommitUnsynced(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	l := found(&r)
	l.Cached = false
	return l, nil
}

// put records what a step made.
func (s *solver) put(ctx context.Context, r cache.Record, commit func() error) error {
	if err := s.cache.Put(ctx, s.lease, r, commit); err != nil {
		return err
	}
	s.note(&cache.Record{Key: r.Key, Layer: r.Layer, Boot: "this one"})
	return nil
}

// now is the time of a new layer.
func (s *solver) now() time.Time {
	if s.plan.Epoch != nil {
		return s.plan.Epoch.UTC()
	}
	return time.Now().UTC()
}

// changed reports whether a draft holds anything. It is no longer mounted afterwards.
func (s *solver) changed(d *snapshot.Draft) (bool, error) {
	if err := d.Unmount(); err != nil {
		return false, err
	}
	upper, err := os.Open(d.Dir())
	if err != nil {
		return false, err
	}
	defer upper.Close()
	switch names, err := upper.Readdirnames(1); {
	case len(names) > 0:
		return true, nil
	case !errors.Is(err, io.EOF):
		return false, err
	}
	var below *os.File
	if d.Parent() != "" {
		if below, err = os.Open(s.layers.Diff(d.Parent())); err != nil {
			return false, err
		}
		defer below.Close()
	}
	return archive.RootChanged(upper, below)
}
