package solve

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// run is RUN.
type run struct {
	s       *solver
	op      *plan.Run
	sources []*bound // one for each of op.Mounts; nil where nothing is read
	undo    []func() error
}

func (r *run) key(ctx context.Context, w *work) (oci.Digest, error) {
	op := r.op
	k := cache.NewKey("run").Add("below", string(w.below.key)).Add("platform", w.stage.Platform.String()).
		Add("args", op.Args...).Add("env", op.Env...).Add("dir", op.Dir).Add("user", op.User).Add("host", op.Hostname).
		Add("network", op.Network).Add("insecure", strconv.FormatBool(op.Insecure)).Add("surroundings", r.s.o.Surroundings...)
	for _, f := range op.Files {
		k.Add("file", f.Name, string(f.Data), strconv.FormatUint(uint64(f.Mode), 8))
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	r.sources = make([]*bound, len(op.Mounts))
	for i, m := range op.Mounts {
		k.Add("mount", string(m.Type), m.Target, m.Path, m.ID, m.Sharing, m.Env, strconv.FormatBool(m.ReadOnly),
			number(uint64(m.Mode)), number(uint64(m.UID)), number(uint64(m.GID)), strconv.FormatInt(m.Size, 10))
		if m.Type != plan.MountBind && m.Type != plan.MountCache {
			continue
		}
		b, err := r.s.bind(ctx, &m)
		if err != nil {
			return "", errdefs.Wrap(err, "prepare", "the mount at "+m.Target)
		}
		r.sources[i] = b
		k.Add("reads", string(b.digest))
	}
	return k.Sum(), nil
}

func (r *run) need(ctx context.Context) error {
	for _, b := range r.sources {
		if b != nil && !b.found {
			if _, err := b.find(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) make(ctx context.Context, w *work, d *snapshot.Draft) (err error) {
	defer func() { err = errors.Join(err, r.close()) }()
	mounts, err := r.mounts(ctx, w)
	if err != nil {
		return err
	}
	root, err := d.Mount(ctx, points(mounts)...)
	if err != nil {
		return err
	}
	id := ident.New()
	sink := r.s.o.Events
	sink.Send(&progress.Running{ID: w.vertex, Container: id, Time: time.Now()})
	err = r.s.o.Runner.Run(ctx, &RunRequest{
		ID: id, Root: root, Step: r.op, Platform: w.stage.Platform, Mounts: mounts,
		Stdout: &output{sink, w.vertex, progress.Stdout}, Stderr: &output{sink, w.vertex, progress.Stderr},
	})
	var exit *ExitError
	if errors.As(err, &exit) && r.s.o.Failed != nil {
		if lerr := r.look(w, d, mounts, err); lerr != nil {
			err = errors.Join(err, lerr)
		}
	}
	return err
}

// points are the places where something is to be mounted.
func points(mounts []RunMount) (list []snapshot.MountPoint) {
	for _, m := range mounts {
		if m.Target != "" {
			list = append(list, snapshot.MountPoint{Path: m.Target, File: m.File})
		}
	}
	return list
}

// mounts opens what is to appear while the program runs.
func (r *run) mounts(ctx context.Context, w *work) ([]RunMount, error) {
	caches, err := r.caches(ctx, w)
	if err != nil {
		return nil, err
	}
	var all []RunMount
	for i, m := range r.op.Mounts {
		out := RunMount{Mount: m}
		var err error
		switch m.Type {
		case plan.MountBind:
			b := r.sources[i]
			out.Source, out.File, err = b.open(ctx, m.ReadOnly)
			out.Path = b.path
		case plan.MountCache:
			out.Source, out.Path = caches[i].Dir, "/"
			if m.From.Scratch { // else the path is what the cache was filled with
				out.Path = path.Join("/", m.Path)
			}
			out.File, err = isFileAt(out.Source, out.Path)
		case plan.MountSecret:
			out.Source, err = given(r.s.o.Secret, "secret", &m)
			out.File = true
		case plan.MountSSH:
			out.Source, err = given(r.s.o.SSH, "SSH agent", &m)
			out.File = true
		}
		if err != nil {
			return nil, err
		}
		if out.Source != nil && (m.Type == plan.MountSecret || m.Type == plan.MountSSH) {
			r.undo = append(r.undo, out.Source.Close)
		}
		if out.Source == nil && m.Type != plan.MountTmpfs {
			continue // optional, and not given
		}
		all = append(all, out)
	}
	return all, nil
}

// given opens what the user gave under the mount's id; nil if that may be missing.
func given(open func(string) (*os.File, error), what string, m *plan.Mount) (*os.File, error) {
	var f *os.File
	if open != nil {
		var err error
		if f, err = open(m.ID); err != nil {
			return nil, errdefs.Wrap(err, "open", "the "+what+" "+m.ID)
		}
	}
	if f == nil && m.Required {
		return nil, errdefs.New(errdefs.NotFound, "%s %s: not found", what, m.ID).
			WithHint("the build has to be given it: --%s id=%s,...", m.Type, m.ID)
	}
	return f, nil
}

func (r *run) close() error {
	var errs []error
	for i := len(r.undo) - 1; i >= 0; i-- {
		errs = append(errs, r.undo[i]())
	}
	r.undo = nil
	for _, b := range r.sources {
		if b != nil {
			errs = append(errs, b.close())
		}
	}
	return errors.Join(errs...)
}
