package solve

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// Result is what a build made. Its layers cannot be removed until Close.
type Result struct {
	Plan     *plan.Plan
	Base     *plan.Image // whose layers lie at the bottom; nil: none
	Layers   []Layer     // on top of the base's, base first
	TopLayer string      // in storage/snapshot; "" if there are no files at all
	// Config is the image's config, complete but for RootFS, which holds the
	// base's layers only: the diff ids of the others have to be computed.
	Config oci.ImageConfig
	State  oci.Digest // the name of the target's last state, as progress has it
	Lease  *catalog.Lease
	// Cached reports that nothing had to be made.
	Cached bool
	// Steps are those of all stages that were needed, and Reads what they read of
	// other stages: what a cache for elsewhere is made of.
	Steps []Step
	Reads map[oci.Digest]oci.Digest

	unsynced []made
	closed   bool
}

// Close lets go of what the build stood on.
func (r *Result) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	return r.Lease.Close()
}

// Solve makes the target of a plan. The caller closes the result.
//
// Of several errors at once the first counts; it stops everything else.
func Solve(ctx context.Context, p *plan.Plan, o Options) (_ *Result, err error) {
	s := newSolver(p, o)
	if s.lease, err = s.images.Lease(); err != nil {
		return nil, err
	}
	defer func() {
		if err = errors.Join(err, s.trees.close()); err != nil {
			err = errors.Join(err, s.lease.Close())
		}
	}()
	s.findStages()
	target, err := s.walk(ctx)
	if err != nil {
		return nil, err
	}
	r := s.result(&target, p.Target().Config)
	r.Cached, r.unsynced = !s.worked(), s.unsynced
	r.Steps, r.Reads = s.steps, s.reads
	return r, nil
}

// result is what a stage has made when it stands at a state.
func (s *solver) result(at *state, config oci.ImageConfig) *Result {
	r := &Result{Plan: s.plan, Base: at.image, Layers: at.layers, TopLayer: at.layer, Config: config, State: at.digest, Lease: s.lease}
	r.Config.RootFS = oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}
	r.Config.History = nil
	if r.Base != nil {
		r.Config.RootFS.DiffIDs = append(r.Config.RootFS.DiffIDs, r.Base.Config.RootFS.DiffIDs...)
		r.Config.History = append(r.Config.History, r.Base.Config.History...)
	}
	base := len(r.Config.History)
	r.Config.History = append(r.Config.History, at.history...)
	r.Config.Created = date(r.Config.History, base, s.plan.Epoch)
	return r
}

// name asks Options.Name for the name of the state after a step.
func (s *solver) name(ctx context.Context, st *stage, step *plan.Step, next *state, below oci.Digest) error {
	if s.o.Name == nil {
		return nil
	}
	config := st.Config
	config.Config = step.Config
	r := s.result(next, config)
	r.Layers = slices.Clone(r.Layers)
	var err error
	next.digest, err = s.o.Name(ctx, r, below)
	next.layers = r.Layers // with the diff ids that were computed for the name
	return err
}

// date fills in the times of the steps from the index from on, and returns the
// image's. A step that made a layer has the time when that was first made, the
// others that of the layer before them, and those in front of the first that of
// the first: a build that found everything in the cache makes the same image
// again, to the byte, as Docker's does.
func date(history []oci.History, from int, epoch *time.Time) *time.Time {
	steps := history[from:]
	if epoch != nil {
		at := epoch.UTC()
		for i := range steps {
			steps[i].Created = &at
		}
		return &at
	}
	var last *time.Time
	for _, h := range steps {
		if h.Created != nil {
			last = h.Created
			break
		}
	}
	for i := from - 1; i >= 0 && last == nil; i-- {
		last = history[i].Created
	}
	if last == nil {
		now := time.Now().UTC()
		last = &now
	}
	for i := range steps {
		if steps[i].Created != nil {
			last = steps[i].Created
		}
		steps[i].Created = last
	}
	return last
}

// MarkSynced says that everything the build stands on is on disk: an image of
// it was made, and that synced the layer store. Steps that are in no image count
// after a restart too then.
func (r *Result) MarkSynced(c *cache.Cache) error {
	for _, m := range r.unsynced {
		if err := c.Synced(m.key, m.layer); err != nil {
			return err
		}
	}
	r.unsynced = nil
	return nil
}

// Finish ends the build: what it made is synced if no export did it, what it
// stood on may be removed, what killed builds left half made is deleted, and if
// anything was made the cache is brought within limit bytes. The caller may Close the result as well.
func (r *Result) Finish(ctx context.Context, dataRoot string, limit int64) error {
	c := cache.Open(dataRoot)
	var err error
	if len(r.unsynced) > 0 {
		var ids []string
		for _, m := range r.unsynced {
			if m.layer != "" {
				ids = append(ids, m.layer)
			}
		}
		if err = snapshot.Open(dataRoot).Sync(ctx, ids...); err == nil {
			err = r.MarkSynced(c)
		}
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	// A killed build may have left half of a large layer.
	if err = snapshot.Open(dataRoot).CollectDrafts(ctx); err != nil || r.Cached {
		return err
	}
	_, err = c.Enforce(ctx, limit)
	return err
}

// made is a record that counts in this boot only, so far.
type made struct {
	key   oci.Digest
	layer string
}
