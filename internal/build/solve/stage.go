package solve

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// state is where a stage stands after a step.
type state struct {
	key     oci.Digest  // of the files
	layer   string      // that has them, with all below it; "": no files
	image   *plan.Image // the base image at the bottom; nil: none
	layers  []Layer     // on top of it
	history []oci.History
	digest  oci.Digest // of files and config: what progress calls the state
	vertex  oci.Digest // of the step
	// pending says that layers are elsewhere: layer is "" then, and so are the IDs
	// of those. idle are steps that were found there and changed nothing.
	pending bool
	idle    []idle
}

// after is the state with one more line of history.
func (st state) after(step *plan.Step, vertex oci.Digest) state {
	h := step.History
	h.Created, h.EmptyLayer = nil, true
	st.history = append(slices.Clip(st.history), h)
	st.digest = cache.NewKey("state").Add("below", string(st.digest)).Add("layer", st.layer).Add("text", step.Text).Sum()
	st.vertex = vertex
	return st
}

// with is the state on top of one more layer, the one of its last step.
func (st state) with(l Layer) state {
	st.layer = l.ID
	st.layers = append(slices.Clip(st.layers), l)
	st.history = slices.Clone(st.history)
	h := &st.history[len(st.history)-1]
	h.Created, h.EmptyLayer = &l.Created, false
	return st
}

// build builds one stage.
func (s *solver) build(ctx context.Context, st *stage) (state, error) {
	at, err := s.begin(ctx, st)
	if err != nil {
		return at, err
	}
	shown := st.shownBase()
	for i := range st.Steps {
		step := &st.Steps[i]
		if step.Op != nil {
			shown++
		}
		if at, err = s.instruction(ctx, st, i, shown, at); err != nil {
			return at, err
		}
	}
	return at, nil
}

// shownBase is 1 if BuildKit's forms count the stage's FROM.
func (st *stage) shownBase() int {
	if st.Base.Image != nil || st.Base.Context != "" {
		return 1
	}
	return 0
}

// begin makes what a stage stands on at first.
func (s *solver) begin(ctx context.Context, st *stage) (at state, err error) {
	if st.Base.Stage != nil { // before its vertex begins: that waits for nobody
		if at, err = s.wait(ctx, st.Base.Stage); err == nil && at.pending && s.o.Imports.Empty() {
			at, err = s.files(ctx, st.Base.Stage)
		}
		if err != nil {
			return at, err
		}
	}
	v := s.vertex(st, -1, st.shownBase())
	if at.vertex != "" {
		v.Inputs = []oci.Digest{at.vertex}
	}
	v.ConfigOnly = st.shownBase() == 0
	s.o.Events.Send(&progress.Started{Vertex: v, Time: time.Now()})
	cached := true
	switch {
	case st.Base.Stage != nil:
	case st.Base.Image != nil:
		at, err = s.image(st.Base.Image)
	case st.Base.Context != "":
		at, cached, err = s.contextBase(ctx, st)
	default:
		at = emptyState()
	}
	at.vertex = v.ID
	if err != nil {
		err = &StepError{Stage: st.Name, Line: st.Line, EndLine: st.Line, Text: st.Text, Err: err}
	}
	s.finish(v.ID, at.digest, cached, err)
	return at, err
}

// image stands on an image, and keeps it.
func (s *solver) image(img *plan.Image) (state, error) {
	at := state{image: img, digest: img.ID}
	have, err := s.lease.UseImage(img.ID)
	if err != nil {
		return at, err
	}
	at.layer = have.TopLayer
	at.key = imageKey(have.Config.RootFS.DiffIDs)
	return at, nil
}

// contextBase stands on the files of a build context.
func (s *solver) contextBase(ctx context.Context, st *stage) (state, bool, error) {
	l, err := s.local(ctx, st.Base.Context, "/")
	if err != nil {
		return state{}, false, err
	}
	at := emptyState()
	at.key, at.digest = l.Key, l.Key
	at.history = []oci.History{{Created: &l.Created, CreatedBy: st.Text}}
	if l.ID != "" {
		at.layer, at.layers = l.ID, []Layer{*l}
	}
	at.history[0].EmptyLayer = l.ID == ""
	return at, l.Cached, nil
}

// instruction does one instruction and tells of it.
func (s *solver) instruction(ctx context.Context, st *stage, i, shown int, at state) (state, error) {
	step := &st.Steps[i]
	w, err := s.prepare(ctx, st, i, &at) // waits for other stages
	v := s.vertex(st, i, shown)
	v.ConfigOnly = step.Op == nil
	v.Inputs = []oci.Digest{at.vertex}
	if w != nil {
		v.Inputs = append(v.Inputs, w.inputs...)
	}
	if err != nil && ctx.Err() != nil {
		return at, cancelled(ctx) // it never began
	}
	s.o.Events.Send(&progress.Started{Vertex: v, Time: time.Now()})
	next := at.after(step, v.ID)
	cached := false
	if err == nil && w != nil {
		w.vertex = v.ID
		next, cached, err = s.do(ctx, w, next)
		err = errors.Join(err, w.close())
	}
	if err == nil {
		err = s.name(ctx, st, step, &next, at.digest)
	}
	if err == nil && step.Op != nil {
		s.keep(Step{Key: next.key, Base: next.image, Layers: next.layers})
	}
	var lost *lostError
	if errors.As(err, &lost) {
		s.finish(v.ID, "", false, &errdefs.Error{Kind: errdefs.Cancelled, Err: err}) // it begins again
		return next, err
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		err = cancelled(ctx) // it was stopped, for what another one did
	}
	if err != nil {
		failed := s.failure(ctx, st, i, &at, err)
		if w != nil {
			failed.After = w.left
		}
		err, next.digest = failed, ""
	}
	if !cached && step.Op != nil {
		st.worked = true
	}
	if w == nil || !w.told {
		s.finish(v.ID, next.digest, cached, err)
	}
	return next, err
}
