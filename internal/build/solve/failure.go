package solve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// failure is the error of a step, with what people need to look into it.
func (s *solver) failure(ctx context.Context, st *stage, i int, at *state, err error) *StepError {
	step := &st.Steps[i]
	e := &StepError{Stage: st.Name, Line: step.Line, EndLine: step.EndLine, Text: step.Text, Err: err}
	if errdefs.KindOf(err) == errdefs.Cancelled {
		return e
	}
	config, text := st.startConfig(), st.Text
	if i > 0 {
		config, text = &st.Steps[i-1].Config, st.Steps[i-1].Text
	}
	var nerr error
	if e.Before, nerr = s.runnable(context.WithoutCancel(ctx), at, config, text); nerr != nil {
		e.Before = "" // an error less is told, and the one that matters is
	}
	return e
}

// startConfig is how a container of what the stage begins from would run.
func (st *stage) startConfig() *oci.RunConfig {
	switch {
	case st.Base.Stage != nil:
		return &st.Base.Stage.Config.Config
	case st.Base.Image != nil:
		return &st.Base.Image.Config.Config
	}
	return &oci.RunConfig{}
}

// runnable returns what can be run to see a state: the base image, if nothing
// was done to it, or the record of the last step, or else one made for this.
func (s *solver) runnable(ctx context.Context, at *state, config *oci.RunConfig, text string) (string, error) {
	if err := s.here(ctx, at); err != nil {
		return "", err
	}
	switch {
	case at.layer == "":
		return "", nil
	case s.o.Name != nil && at.digest != "":
		return ident.Short(at.digest.Hex()), nil
	case at.image != nil && len(at.history) == 0:
		return at.image.Name, nil
	}
	r, err := s.cache.Look(at.key)
	if err != nil {
		return "", err
	}
	if r == nil || r.Layer != at.layer || !sameConfig(r.Config, config) {
		r = &cache.Record{Key: at.digest, Type: cache.State, Layer: at.layer, Below: at.layer, Created: s.now(), Text: text, Config: config}
		if err := s.put(ctx, *r, nil); err != nil {
			return "", err
		}
	}
	return ident.Short(r.Key.Hex()), nil
}

// sameConfig compares what would be written down of two configs.
func sameConfig(a, b *oci.RunConfig) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// look lets Options.Failed look into a step whose program failed. One step of a
// build is looked into, the first to fail; the others are stopped before.
//
// The files are mounted anew: before Linux 6.15 a detached mount serves only
// once. A tree that the program could write to is the same one as before.
func (r *run) look(w *work, d *snapshot.Draft, mounts []RunMount, cause error) error {
	s := r.s
	if !s.looking.CompareAndSwap(false, true) {
		return nil
	}
	s.stop(s.failure(s.user, w.stage, w.index, &w.below, cause))
	for _, other := range s.stages {
		if other != w.stage && other.started.Load() {
			<-other.done
		}
	}
	ctx := s.user
	if ctx.Err() != nil {
		return nil
	}
	if err := d.Unmount(); err != nil {
		return err
	}
	root, err := d.Mount(ctx, points(mounts)...)
	if err != nil {
		return err
	}
	again := make([]RunMount, 0, len(mounts))
	for _, m := range mounts {
		if b := r.source(m.Target); b != nil && m.Type == plan.MountBind && m.ReadOnly {
			if m.Source, m.File, err = b.open(ctx, true); err != nil {
				return err
			}
		}
		again = append(again, m)
	}
	s.finish(w.vertex, "", false, cause)
	w.told = true
	s.o.Failed(ctx, &RunRequest{ID: ident.New(), Root: root, Step: r.op, Platform: w.stage.Platform, Mounts: again}, cause)
	return nil
}

// source is what is mounted at a target.
func (r *run) source(target string) *bound {
	for i, m := range r.op.Mounts {
		if m.Target == target {
			return r.sources[i]
		}
	}
	return nil
}

// keepFailed keeps what the program of a step has left, as a build state.
func (s *solver) keepFailed(ctx context.Context, w *work, d *snapshot.Draft, cause error) error {
	run, ok := w.op.(*run)
	var exit *ExitError
	if !ok || !s.o.KeepFailed || !errors.As(cause, &exit) {
		return nil
	}
	config := w.step.Config
	config.Env, config.WorkingDir, config.User = run.op.Env, run.op.Dir, run.op.User
	size, err := snapshot.TreeSize(d.Dir())
	if err != nil {
		return err
	}
	r := cache.Record{
		Key: cache.NewKey("failed").Add("layer", d.ID()).Sum(), Type: cache.State, Layer: d.ID(), Below: w.below.layer, Size: size,
		Created: s.now(), Text: w.step.Text, Config: &config,
	}
	ctx = context.WithoutCancel(ctx)
	err = s.put(ctx, r, func() error {
		_, err := d.CommitUnsynced(ctx)
		return err
	})
	if err == nil {
		w.left = ident.Short(r.Key.Hex())
	}
	return err
}
