package solve

import (
	"context"
	"errors"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/copy"
	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/oci"
)

// A stage that others only copy from need not be built, nor its layers fetched,
// if a cache from elsewhere knows what was read of it. So before anything is
// done the keys of all stages are computed as far as that goes without files:
//
//	the base            by its diff ids, or the keys of the stage that it is
//	RUN, WORKDIR        by their words
//	COPY of a context   by the content, which is here
//	COPY --from=stage   by what the cache says was read of that stage, at its key
//
// A stage whose last key the cache knows waits. Who asks for its files all the
// same, since nobody knows what he would find, makes it begin.

// errUntold says that a key depends on files that would have to be made.
var errUntold = errors.New("not known before the stage is built")

// foretell finds the stages that can wait.
func (s *solver) foretell(ctx context.Context) error {
	if s.o.Imports.Empty() || s.o.Everything || s.o.Name != nil {
		return nil
	}
	s.foretelling = true
	defer func() { s.foretelling = false }()
	for _, p := range s.plan.Stages {
		st := s.stages[p]
		if st == nil || p == s.plan.Target() || s.skipsCache(p) {
			continue
		}
		keys, err := s.keysOf(ctx, st)
		if ctx.Err() != nil {
			return cancelled(ctx)
		}
		if err == nil && len(keys) > 1 && s.o.Imports.Knows(keys[len(keys)-1]) {
			st.foretold = keys
		}
	}
	return nil
}

// keysOf computes the keys of a stage, that of its base first. Any error means
// only that the stage does not wait; what is wrong is found again when it is built.
func (s *solver) keysOf(ctx context.Context, st *stage) ([]oci.Digest, error) {
	at := state{}
	switch {
	case st.Base.Stage != nil:
		base := s.stages[st.Base.Stage]
		if base.foretold == nil {
			return nil, errUntold
		}
		at.key = base.foretold[len(base.foretold)-1]
	case st.Base.Image != nil:
		at.key = imageKey(st.Base.Image.Config.RootFS.DiffIDs)
	case st.Base.Context != "":
		return nil, errUntold
	default:
		at = emptyState()
	}
	keys := []oci.Digest{at.key}
	for i := range st.Steps {
		key, err := s.keyOf(ctx, st, i, at)
		if err != nil {
			return nil, err
		}
		if key != "" {
			at.key, keys = key, append(keys, key)
		}
	}
	return keys, nil
}

// keyOf computes the key of a step, "" if it changes no files.
func (s *solver) keyOf(ctx context.Context, st *stage, i int, at state) (key oci.Digest, err error) {
	op := st.Steps[i].Op
	if op == nil {
		return "", nil
	}
	for _, from := range sources(op) {
		if from.Stage != nil && !s.isTold(from.Stage) {
			return "", errUntold
		}
	}
	c, isCopy := op.(*plan.Copy)
	if isCopy && (len(c.Remote) > 0 || c.Link && c.Chown != "" || c.Link && st.Base.Image == nil && st.Base.Stage == nil) {
		return "", errUntold // it would be fetched twice; it depends on accounts, or on whether there are files below
	}
	w, err := s.prepare(ctx, st, i, &at)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	if isCopy && c.Link {
		cp := w.op.(*copying) //nolint:errcheck // prepare makes it of a plan.Copy
		if err := cp.open(ctx, w); err != nil {
			return "", err
		}
		return linkedKey(at.key, cp.describe(cache.NewKey("link")).Sum()), nil
	}
	return w.op.key(ctx, w)
}

// isTold reports whether a stage waits.
func (s *solver) isTold(p *plan.Stage) bool {
	st := s.stages[p]
	return st != nil && st.foretold != nil && !st.started.Load()
}

// digestOf sets the digest of what is read of a source: by what a cache says of a
// stage that waits, else by compute.
func (s *solver) digestOf(from plan.Source, c *plan.Copy, owner *copy.Owner, digest *oci.Digest, compute func() error) error {
	if from.Stage == nil || len(c.Remote) > 0 {
		return compute()
	}
	st := s.stages[from.Stage]
	if s.isTold(from.Stage) {
		what := reading(cache.NewKey("read").Add("stage", string(st.foretold[len(st.foretold)-1])), c, owner)
		if *digest = s.o.Imports.Read(what); *digest != "" {
			s.read(what, *digest)
			return nil
		}
	}
	if s.foretelling {
		return errUntold
	}
	if err := compute(); err != nil {
		return err
	}
	if st.started.Load() {
		<-st.done // compute has waited for it
		s.read(reading(cache.NewKey("read").Add("stage", string(st.result.key)), c, owner), *digest)
	}
	return nil
}

// read notes what was read of a stage.
func (s *solver) read(what, digest oci.Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[what] = digest
}

// tellWaiting shows the stages that nobody needed as what they are: cached.
func (s *solver) tellWaiting() {
	for _, p := range s.plan.Stages {
		st := s.stages[p]
		if st == nil || st.started.Load() {
			continue
		}
		for _, key := range st.foretold[1:] {
			s.keep(Step{Key: key, Hollow: true})
		}
		shown := st.shownBase()
		for i := -1; i < len(st.Steps); i++ {
			v := s.vertex(st, i, shown)
			if i >= 0 && st.Steps[i].Op != nil {
				shown++
				v = s.vertex(st, i, shown)
			}
			v.ConfigOnly = i >= 0 && st.Steps[i].Op == nil || i < 0 && st.shownBase() == 0
			s.o.Events.Send(&progress.Started{Vertex: v, Time: time.Now()})
			s.finish(v.ID, "", true, nil)
		}
	}
}
