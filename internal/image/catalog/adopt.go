package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
)

// Adopt puts committed layers of the layer store on record, durably: each lies
// on the one before, the first on the stack parent ("" for none). Chain and
// Parent are filled in. One sync serves them all, whether they were synced
// before or not.
//
// The layers must be kept by this lease (Keep). If another process recorded one
// of the stacks meanwhile with other files of equal content, nothing more is
// recorded and the error is of kind AlreadyExists: the caller looks again (UseLayer).
func (l *Lease) Adopt(ctx context.Context, parent oci.Digest, layers []Layer) ([]Layer, error) {
	done := make([]Layer, len(layers))
	temps := make([]string, len(layers))
	defer func() {
		for _, t := range temps {
			if t != "" {
				os.RemoveAll(t)
			}
		}
	}()
	for i, layer := range layers {
		if _, err := oci.ParseDigest(string(layer.DiffID)); err != nil {
			return nil, err
		}
		layer.Parent, layer.Chain = parent, ChainID(parent, layer.DiffID)
		parent, done[i] = layer.Chain, layer
		temps[i] = l.s.layerDir() + "/" + tempPrefix + filepath.Base(l.path) + "-" + ident.NewLink()
		l.s.step("write record")
		if err := writeRecord(temps[i], layer, nil); err != nil {
			return nil, err
		}
	}
	if len(layers) == 0 {
		return done, nil
	}
	l.s.step("sync layers")
	ids := make([]string, len(layers))
	for i, layer := range layers {
		ids[i] = layer.Snapshot
	}
	if err := l.s.layers.Sync(ctx, ids...); err != nil {
		return nil, err
	}
	if err := syncIfElsewhere(l.s.layerDir(), l.s.layers.Dir()); err != nil {
		return nil, err
	}
	hold, err := l.s.Hold()
	if err != nil {
		return nil, err
	}
	defer hold.Release()
	for i, layer := range done {
		if err := l.s.adopt(layer, temps[i]); err != nil {
			return nil, errdefs.Wrap(err, "store layer", ident.Short(layer.Chain.Hex()))
		}
		temps[i] = ""
		if err := l.add(layer.Chain); err != nil {
			return nil, err
		}
	}
	l.s.step("sync records")
	return done, atomicfile.SyncDir(l.s.layerDir())
}

// adopt gives a record, written in tmp, the name of its chain id.
//
// Preconditions: the store's lock is held; layer and record are synced.
func (s *Store) adopt(layer Layer, tmp string) error {
	have, err := s.Layer(layer.Chain)
	switch {
	case err == nil && have.Snapshot == layer.Snapshot:
		return os.RemoveAll(tmp)
	case err == nil:
		return errdefs.New(errdefs.AlreadyExists, "it is on record with other files")
	case !errors.Is(err, errdefs.NotFound):
		return err
	}
	want := ""
	below, err := s.layers.Parent(layer.Snapshot)
	if err != nil {
		return err
	}
	if layer.Parent != "" {
		if want, err = s.cacheID(layer.Parent); err != nil {
			return err
		}
	}
	if below != want {
		return errdefs.New(errdefs.AlreadyExists, "it lies on %q, the stack below on record is %q", below, want)
	}
	s.step("rename record")
	err = os.Rename(tmp, s.LayerDir(layer.Chain))
	if errors.Is(err, os.ErrExist) { // recorded since we looked: the shared lock lets many do that at once
		return s.adopt(layer, tmp)
	}
	return err
}
