package solve

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// stage is a stage that the target needs, while it is built.
type stage struct {
	*plan.Stage
	first    int           // the number of its FROM among all instructions
	only     bool          // the plan's only stage, without a name
	commands int           // instructions that BuildKit counts
	done     chan struct{} // closed when result or err is there
	result   state
	err      error
	worked   bool // something was not in the cache

	start   sync.Once
	started atomic.Bool
	// foretold are the keys of its steps, if they could be told without its files,
	// the last one first known to a cache from elsewhere: it waits until somebody
	// needs its files.
	foretold []oci.Digest
	// It is built again when its files cannot be had from elsewhere.
	again     sync.Once
	remade    state
	remadeErr error
}

// findStages finds the stages that the target reaches, and numbers their
// instructions. A plan lists a stage before those that need it.
func (s *solver) findStages() {
	needed := map[*plan.Stage]bool{s.plan.Target(): true}
	for i := len(s.plan.Stages) - 1; i >= 0; i-- {
		st := s.plan.Stages[i]
		if !needed[st] {
			continue
		}
		if st.Base.Stage != nil {
			needed[st.Base.Stage] = true
		}
		for _, step := range st.Steps {
			for _, from := range sources(step.Op) {
				if from.Stage != nil {
					needed[from.Stage] = true
				}
			}
		}
	}
	s.stages = map[*plan.Stage]*stage{}
	for _, st := range s.plan.Stages {
		if !needed[st] {
			continue
		}
		n := &stage{Stage: st, first: s.total + 1, done: make(chan struct{})}
		s.total += 1 + len(st.Steps)
		if st.Base.Image != nil || st.Base.Context != "" {
			n.commands = 1
		}
		for _, step := range st.Steps {
			if step.Op != nil {
				n.commands++
			}
		}
		s.stages[st] = n
	}
	if len(s.stages) == 1 {
		s.stages[s.plan.Target()].only = true
	}
}

// sources are where an operation takes files from.
func sources(op plan.Op) []plan.Source {
	switch op := op.(type) {
	case *plan.Copy:
		return []plan.Source{op.From}
	case *plan.Run:
		var all []plan.Source
		for _, m := range op.Mounts {
			if m.Type == plan.MountBind || m.Type == plan.MountCache {
				all = append(all, m.From)
			}
		}
		return all
	}
	return nil
}

// walk builds all needed stages, each in a goroutine of its own that waits for
// those it needs.
func (s *solver) walk(ctx context.Context) (state, error) {
	s.user = ctx
	ctx, s.stop = context.WithCancelCause(ctx)
	defer s.stop(nil)
	s.staging = ctx
	if err := s.foretell(ctx); err != nil {
		return state{}, err
	}
	for _, st := range s.stages {
		if st.foretold == nil {
			s.begun(st)
		}
	}
	s.all.Wait()
	target := s.stages[s.plan.Target()]
	if target.err == nil {
		s.tellWaiting()
		return target.result, nil
	}
	// The cause is the first error, or that the user gave up.
	cause := context.Cause(ctx)
	var where *StepError
	if errors.As(cause, &where) || errdefs.KindOf(cause) != errdefs.Internal {
		return state{}, cause
	}
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return state{}, cancelled(ctx)
	}
	return state{}, cause
}

// begun makes a stage be worked on. It is called by who works on another one, or
// before anybody does.
func (s *solver) begun(st *stage) {
	st.start.Do(func() {
		st.started.Store(true)
		s.all.Go(func() {
			st.result, st.err = s.settle(s.staging, st)
			if st.err != nil {
				s.stop(st.err)
			}
			close(st.done)
		})
	})
}

// wait waits for the result of another stage.
func (s *solver) wait(ctx context.Context, st *plan.Stage) (state, error) {
	other := s.stages[st]
	if other == nil {
		return state{}, errdefs.New(errdefs.Internal, "the plan lacks the stage %s", st.Name)
	}
	s.begun(other)
	select {
	case <-other.done:
		if other.err != nil {
			return state{}, cancelled(ctx)
		}
		return other.result, nil
	case <-ctx.Done():
		return state{}, cancelled(ctx)
	}
}

// worked reports whether anything had to be made.
func (s *solver) worked() bool {
	for _, st := range s.stages {
		if st.worked {
			return true
		}
	}
	return false
}
