package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// Lease is the right to count on layers and images that no name and no
// container keeps yet: a pull, a load, a build or a commit has one for its
// duration. If its process dies, it ends.
type Lease struct {
	s    *Store
	lock *filelock.Lock
	path string
}

// Lease begins a lease. The caller must Close it.
func (s *Store) Lease() (*Lease, error) {
	if err := s.makeDirs(); err != nil {
		return nil, err
	}
	path := s.leaseDir() + "/" + ident.NewLink()
	lock, err := filelock.Exclusive(path)
	if err != nil {
		return nil, err
	}
	return &Lease{s: s, lock: lock, path: path}, nil
}

// Close ends the lease. What has neither a name nor a container is then free to be removed.
func (l *Lease) Close() error {
	err := os.Remove(l.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.lock.Unlock())
}

// add writes one more digest into the lease.
func (l *Lease) add(d oci.Digest) error {
	_, err := l.lock.File().WriteString(string(d) + "\n")
	return err
}

// UseLayer reports whether the layer of a chain id is here, and keeps it from being removed.
func (l *Lease) UseLayer(chain oci.Digest) (Layer, bool, error) {
	if _, err := oci.ParseDigest(string(chain)); err != nil {
		return Layer{}, false, err
	}
	hold, err := l.s.Hold()
	if err != nil {
		return Layer{}, false, err
	}
	defer hold.Release()
	layer, err := l.s.Layer(chain)
	if errors.Is(err, errdefs.NotFound) {
		return Layer{}, false, nil
	}
	if err != nil {
		return Layer{}, false, err
	}
	return layer, true, l.add(chain)
}

// UseImage keeps an image and its layers from being removed.
func (l *Lease) UseImage(id oci.Digest) (*Image, error) {
	hold, err := l.s.Hold()
	if err != nil {
		return nil, err
	}
	defer hold.Release()
	img, err := l.s.Get(id)
	if err != nil {
		return nil, err
	}
	return img, l.add(id)
}

// AddLayer commits a draft and puts it on record, durably. If the layer is here
// already the draft is discarded and the existing layer returned. After an error
// the caller still has to discard the draft.
func (l *Lease) AddLayer(ctx context.Context, n NewLayer) (Layer, error) {
	for _, d := range [...]oci.Digest{n.DiffID, n.Parent} {
		if _, err := oci.ParseDigest(string(d)); err != nil && (d != "" || d == n.DiffID) {
			return Layer{}, err
		}
	}
	layer := Layer{Chain: ChainID(n.Parent, n.DiffID), Parent: n.Parent, DiffID: n.DiffID, Snapshot: n.Draft.ID(), Size: n.Size}
	tmp := l.s.layerDir() + "/" + tempPrefix + filepath.Base(l.path) + "-" + ident.NewLink()
	have, added, err := l.addLayer(ctx, n, layer, tmp)
	if err == nil && !added {
		err = n.Draft.Discard()
	}
	if err != nil || !added {
		err = errors.Join(err, os.RemoveAll(tmp))
	}
	return have, errdefs.Wrap(err, "store layer", ident.Short(layer.Chain.Hex()))
}

func (l *Lease) addLayer(ctx context.Context, n NewLayer, layer Layer, tmp string) (Layer, bool, error) {
	if layer.Size < 0 {
		var err error
		if layer.Size, err = snapshot.TreeSize(n.Draft.Dir()); err != nil {
			return layer, false, err
		}
	}
	l.s.step("write record")
	if err := writeRecord(tmp, layer, n.Extra); err != nil {
		return layer, false, err
	}
	// One sync for the layer and its record. It may take long, so it is done
	// before the lock is taken.
	l.s.step("sync layer")
	if err := n.Draft.Sync(ctx); err != nil {
		return layer, false, err
	}
	if err := syncIfElsewhere(tmp, n.Draft.Dir()); err != nil {
		return layer, false, err
	}
	hold, err := l.s.Hold()
	if err != nil {
		return layer, false, err
	}
	defer hold.Release()
	have, added, err := l.s.addLayer(ctx, n, layer, tmp)
	if err != nil {
		return have, false, err
	}
	return have, added, l.add(have.Chain)
}

// Put stores an image by its config, durably, and returns it. All layers that
// the config lists must be here. parent is the image that it was committed or
// built from, "" for a pulled one.
func (l *Lease) Put(ctx context.Context, config []byte, parent oci.Digest) (*Image, error) {
	hold, err := l.s.Hold()
	if err != nil {
		return nil, err
	}
	defer hold.Release()
	img, err := l.s.put(ctx, config, parent)
	if err != nil {
		return nil, err
	}
	return img, l.add(img.ID)
}

// leases are the live leases: their names and what they list.
type leases struct {
	names     map[string]bool
	digests   map[oci.Digest]bool
	snapshots map[string]bool // see Lease.Keep
}

// leases reads the live leases and removes those of dead processes.
//
// Preconditions: the store's lock is held exclusively.
func (s *Store) leases() (leases, error) {
	all := leases{map[string]bool{}, map[oci.Digest]bool{}, map[string]bool{}}
	entries, err := os.ReadDir(s.leaseDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return all, err
	}
	for _, e := range entries {
		path := s.leaseDir() + "/" + e.Name()
		lock, err := filelock.TryExclusive(path)
		if err == nil {
			// Nobody holds it: its process is dead, or has just made the file
			// and will notice that it is gone and make it again.
			if err := errors.Join(os.Remove(path), lock.Unlock()); err != nil {
				return all, err
			}
			continue
		}
		if !errors.Is(err, filelock.ErrLocked) {
			return all, err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return all, err
		}
		all.names[e.Name()] = true
		for line := range strings.Lines(string(b)) {
			line = strings.TrimSuffix(line, "\n")
			if id, ok := keptBy(line); ok {
				all.snapshots[id] = true
			} else if d, err := oci.ParseDigest(line); err == nil {
				all.digests[d] = true
			}
		}
	}
	return all, nil
}
