package solve

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
)

// with gives a step the config that a container after it has.
func with(s plan.Step, env ...string) plan.Step {
	s.Config = oci.RunConfig{Env: env}
	return s
}

// A failure names what can be run to see the state before it.
func TestFailureNamesTheStateBefore(t *testing.T) {
	w := newWorld(t)
	failed := func(st *plan.Stage) (*StepError, *cache.Record) {
		t.Helper()
		_, err := Solve(t.Context(), planOf(st), w.o)
		var at *StepError
		if !errors.As(err, &at) || at.After != "" {
			t.Fatalf("%v", err)
		}
		r, _ := cache.Open(w.root).State(at.Before)
		return at, r
	}
	if at, _ := failed(w.from("0", sh("fail"))); at.Before != "base" {
		t.Errorf("on the base: %q", at.Before)
	}
	if at, _ := failed(&plan.Stage{Name: "0", Steps: []plan.Step{sh("fail")}}); at.Before != "" {
		t.Errorf("on nothing: %q", at.Before)
	}
	write := with(sh("write", "/x", "1"), "A=1")
	at, r := failed(w.from("0", write, sh("fail")))
	if r == nil || r.Type != cache.Regular || !slices.Equal(r.Config.Env, []string{"A=1"}) || r.Layer == "" {
		t.Errorf("after a step: %q, %+v", at.Before, r)
	}
	// The config is part of the state: a state of its own, which shows the same files.
	again, other := failed(w.from("0", write, with(env("B=2"), "A=1", "B=2"), sh("fail")))
	if other == nil || other.Type != cache.State || other.Layer != r.Layer || !slices.Equal(other.Config.Env, []string{"A=1", "B=2"}) || again.Before == at.Before {
		t.Errorf("after ENV: %q, %+v", again.Before, other)
	}
	if same, _ := failed(w.from("0", write, with(env("B=2"), "A=1", "B=2"), sh("fail"))); same.Before != again.Before {
		t.Errorf("the same again: %q, %q", same.Before, again.Before)
	}
	// On the base alone, with another config.
	if at, r := failed(w.from("0", with(env("B=2"), "B=2"), sh("fail"))); r == nil || r.Layer != w.base.TopLayer {
		t.Errorf("%q, %+v", at.Before, r)
	}
	w.empty()
}

// Failed sees the program's files and mounts when everything else has stopped.
func TestFailedLooksIntoTheStep(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"ctx": "of the context"})
	w.runner.started = make(chan struct{})
	slow := w.from("slow", sh("slow"))
	bad := w.from("bad", sh("write", "/before", "b"), plan.Step{Text: "RUN bad", Op: &plan.Run{
		Args: []string{"leave", "/left", "half"}, Mounts: []plan.Mount{
			{Type: plan.MountBind, Target: "/ctx", ReadOnly: true}, {Type: plan.MountBind, Target: "/rw"},
			{Type: plan.MountCache, Target: "/c", Sharing: "shared", Mode: 0o755, From: plan.Source{Scratch: true}},
		},
	}})
	final := w.from("final", cp(plan.Copy{From: plan.Source{Stage: slow}, Paths: []string{"/"}, Dest: "/"}), cp(plan.Copy{From: plan.Source{Stage: bad}, Paths: []string{"/"}, Dest: "/"}))
	calls := 0
	w.o.Runner = leaving{w.runner}
	w.o.Failed = func(ctx context.Context, r *RunRequest, err error) {
		calls++
		if ctx.Err() != nil || w.runner.running.Load() != 0 {
			t.Errorf("others still run: %d, %v", w.runner.running.Load(), ctx.Err())
		}
		read := func(f *os.File, path string) string {
			b, err := rootpath.ReadFile(f, path, 1<<10)
			if err != nil {
				return err.Error()
			}
			return string(b)
		}
		got := []string{
			read(r.Root, "/left"), read(r.Root, "/before"), read(r.Mounts[0].Source, r.Mounts[0].Path+"/ctx"),
			read(r.Mounts[1].Source, "/mark"), read(r.Mounts[2].Source, "/mark"),
		}
		if want := []string{"half", "b", "of the context", "m", "m"}; !slices.Equal(got, want) {
			t.Errorf("it shows %q", got)
		}
	}
	_, err := Solve(t.Context(), planOf(slow, bad, final), w.o)
	var at *StepError
	var exit *ExitError
	if !errors.As(err, &at) || !errors.As(err, &exit) || exit.Code != 5 || at.Text != "RUN bad" || at.Before == "" || calls != 1 {
		t.Errorf("%v, %+v, %d calls", err, at, calls)
	}
	if n := strings.Count(w.log.String(), "RUN bad failed"); n != 1 {
		t.Errorf("told %d times:\n%s", n, w.log)
	}
	// The other one did not fail by itself.
	for _, e := range w.log.all {
		if f, ok := e.(*progress.Finished); ok && f.Err != nil && !strings.Contains(w.log.names[f.ID], "bad") && errdefs.KindOf(f.Err) != errdefs.Cancelled {
			t.Errorf("%s failed: %v", w.log.names[f.ID], f.Err)
		}
	}
	w.empty()
}

// leaving is a runner whose program leaves something and fails, once the slow one runs.
type leaving struct{ *scripted }

func (l leaving) Run(ctx context.Context, r *RunRequest) error {
	if r.Step.Args[0] != "leave" {
		return l.scripted.Run(ctx, r)
	}
	if l.started != nil {
		<-l.started
	}
	for _, m := range r.Mounts {
		if !m.ReadOnly {
			if err := l.write(m.Source, "/mark", "m"); err != nil {
				return err
			}
		}
	}
	if err := l.write(r.Root, r.Step.Args[1], r.Step.Args[2]); err != nil {
		return err
	}
	return &ExitError{Code: 5}
}

func TestKeepFailed(t *testing.T) {
	w := newWorld(t)
	w.o.Runner, w.o.KeepFailed = leaving{w.runner}, true
	bad := sh("leave", "/left", "half")
	bad.Op.(*plan.Run).Env = []string{"ARG=1"}
	_, err := Solve(t.Context(), planOf(w.from("0", bad)), w.o)
	var at *StepError
	if !errors.As(err, &at) || at.After == "" {
		t.Fatalf("%v, %+v", err, at)
	}
	r, err := cache.Open(w.root).State(at.After)
	must(t, err)
	b, err := os.ReadFile(w.root + "/overlay2/" + r.Layer + "/diff/left")
	if err != nil || string(b) != "half" || r.Below != w.base.TopLayer || !slices.Equal(r.Config.Env, []string{"ARG=1"}) {
		t.Errorf("%q, %v, %+v", b, err, r)
	}
	// It is no result of the step.
	if _, err := Solve(t.Context(), planOf(w.from("0", bad)), w.o); err == nil {
		t.Error("the failed step was found in the cache")
	}
	w.empty()
}
