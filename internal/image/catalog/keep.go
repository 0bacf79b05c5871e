package catalog

import (
	"context"
	"errors"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

// keepPrefix begins a line of a lease that names a layer of the layer store.
const keepPrefix = "layer "

// Keep keeps a layer of the layer store from being removed, one that no record
// of the catalog needs to know: the steps of a build are such. commit, when not
// nil, makes the layer while nobody can remove it; it should be quick. Without
// it Keep reports whether the layer is there.
func (l *Lease) Keep(ctx context.Context, snapshot string, commit func() error) (bool, error) {
	if !ident.Valid(snapshot) {
		return false, errdefs.New(errdefs.InvalidArgument, "invalid layer id %q", snapshot)
	}
	if err := ctx.Err(); err != nil {
		return false, context.Cause(ctx)
	}
	hold, err := l.s.Hold()
	if err != nil {
		return false, err
	}
	defer hold.Release()
	if commit != nil {
		if err := commit(); err != nil {
			return false, err
		}
	}
	if !l.s.layers.Exists(snapshot) {
		return false, nil
	}
	_, err = l.lock.File().WriteString(keepPrefix + snapshot + "\n")
	return err == nil, err
}

// Kept reports whether a lease keeps a layer of the layer store.
func (r *Removal) Kept(snapshot string) bool { return r.leases.snapshots[snapshot] }

// keptBy reads a line that Keep wrote.
func keptBy(line string) (snapshot string, ok bool) {
	snapshot, ok = strings.CutPrefix(line, keepPrefix)
	return snapshot, ok && ident.Valid(snapshot)
}

// ImageLayers returns the layers of the layer store that an image has, or a
// pull or load in progress.
func (r *Removal) ImageLayers() (map[string]bool, error) {
	if err := r.count(); err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for chain, n := range r.users {
		if n == 0 {
			continue
		}
		id, err := r.s.cacheID(chain)
		switch {
		case errors.Is(err, errdefs.NotFound): // the digest of an image, or a damaged image's layer
		case err != nil:
			return nil, err
		default:
			used[id] = true
		}
	}
	return used, nil
}
