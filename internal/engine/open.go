package engine

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/container/events"
	"berth/internal/container/idpool"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/linux/cgroup"
	"berth/internal/linux/probe"
	"berth/internal/network"
	"berth/internal/storage/snapshot"
	"berth/internal/storage/volume"
)

// Engine is the five services over one data root and one state root.
type Engine struct {
	Containers *Containers
	Images     *Images
	Networks   *Networks
	Volumes    *Volumes
	System     *System

	opt       Options
	store     *container.Store
	images    *catalog.Store
	snapshots *snapshot.Store
	volumes   *volume.Store
	networks  *network.Store
	events    *events.Journal
	ids       *idpool.Pool
	cgroups   func() (*cgroup.Host, error)
	kernel    probe.Kernel
	nursery   nursery
}

// The services of an Engine.
type (
	// Containers makes, runs, watches and removes containers.
	Containers struct{ e *Engine }
	// Images names, shows and removes images.
	Images struct{ e *Engine }
	// Networks shows the networks containers are on.
	Networks struct{ e *Engine }
	// Volumes keeps data that outlives containers.
	Volumes struct{ e *Engine }
	// System tells about the host and what happened on it.
	System struct{ e *Engine }
)

// Open returns the engine over the roots, which are made when something is first written.
func Open(_ context.Context, o Options) (*Engine, error) {
	for _, p := range []*string{&o.DataRoot, &o.StateRoot} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return nil, errdefs.Wrap(err, "find", *p)
		}
		*p = abs
		if err := permitted(abs); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(o.StateRoot, 0o700); err != nil {
		return nil, errdefs.Wrap(err, "prepare", "the state root "+o.StateRoot)
	}
	return open(o), nil
}

// permitted refuses a root that this user may not write, or make: whatever came
// later would fail in the middle. Root may do everything, and is not asked.
func permitted(root string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	at := root
	err := unix.Access(at, unix.R_OK|unix.W_OK|unix.X_OK)
	for errors.Is(err, unix.ENOENT) && at != "/" {
		at = filepath.Dir(at)
		err = unix.Access(at, unix.W_OK|unix.X_OK)
	}
	if err == nil {
		return nil
	}
	return &errdefs.Error{Kind: errdefs.Forbidden, Op: "use", Subject: root, Err: &os.PathError{Op: "write to", Path: at, Err: err},
		Hint: "run it as root, or choose directories of your own: --data-root and --state-root"}
}

// open makes the engine without touching the disk.
func open(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		opt: o, store: container.Open(o.DataRoot, o.StateRoot), images: catalog.Open(o.DataRoot), snapshots: snapshot.Open(o.DataRoot),
		volumes: volume.Open(o.DataRoot), networks: network.Open(o.DataRoot, o.StateRoot), events: events.Open(o.StateRoot),
		ids:     idpool.Open(o.DataRoot),
		cgroups: sync.OnceValues(cgroup.Detect),
	}
	e.Containers, e.Images, e.Networks, e.Volumes, e.System = &Containers{e}, &Images{e}, &Networks{e}, &Volumes{e}, &System{e}
	return e
}
