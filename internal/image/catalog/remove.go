package catalog

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/oci"
)

// Removal is the exclusive right to remove images and layers: while it is held,
// nobody looks an image up to use it. It must be held briefly; deleting the files
// of what was removed (snapshot.Store.Reclaim) comes after Close.
//
// Its holder must not call Hold, Tag or a Lease's methods in the same goroutine:
// they would wait for Close.
type Removal struct {
	s      *Store
	lock   *filelock.Lock
	leases leases
	users  map[oci.Digest]int // chain id -> images and leases that use it; nil: not counted yet
}

// Exclusive waits until nobody holds the store and begins a removal.
func (s *Store) Exclusive() (*Removal, error) {
	if err := s.makeDirs(); err != nil { // none may be missing below
		return nil, err
	}
	lock, err := s.lock(filelock.Exclusive, "/.lock")
	if err != nil {
		return nil, err
	}
	leases, err := s.leases()
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return &Removal{s: s, lock: lock, leases: leases}, nil
}

// Close ends the removal.
func (r *Removal) Close() error { return r.lock.Unlock() }

// Leased reports whether a pull, load, build or commit counts on the image.
func (r *Removal) Leased(id oci.Digest) bool { return r.leases.digests[id] }

// Images removes images, whose names must have been removed before, and those
// of their layers that nothing else uses: no other image, no lease, and by
// inUse, which is asked for snapshot ids, no container. It returns the layers
// removed, topmost first.
func (r *Removal) Images(ids []oci.Digest, inUse func(snapshot string) bool) ([]Layer, error) {
	if err := r.count(); err != nil {
		return nil, err
	}
	var candidates []oci.Digest
	for _, id := range ids {
		if r.Leased(id) {
			return nil, errdefs.New(errdefs.Conflict, "image %s is being pulled, built or committed", ident.Short(id.Hex()))
		}
		chain := r.s.chainOf(id)
		slices.Reverse(chain)
		for _, c := range chain {
			r.users[c]--
		}
		candidates = append(candidates, chain...)
	}
	r.s.step("remove config")
	for _, id := range ids {
		if err := os.Remove(r.s.content(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if err := os.RemoveAll(r.s.metadata(id)); err != nil {
			return nil, err
		}
	}
	if err := atomicfile.SyncDir(r.s.contentDir()); err != nil {
		return nil, err
	}
	return r.layers(candidates, inUse)
}

// Sweep removes every layer that nothing uses, as Images does, and what killed
// processes left of records.
func (r *Removal) Sweep(inUse func(snapshot string) bool) ([]Layer, error) {
	if err := r.sweepTemps(); err != nil {
		return nil, err
	}
	chains, err := r.s.chains()
	if err != nil {
		return nil, err
	}
	return r.layers(chains, inUse)
}

// sweepTemps removes what killed processes left half written or half deleted.
// Whoever writes now has a lease, or would hold the store.
func (r *Removal) sweepTemps() error {
	isRecordTemp := func(name string) bool {
		lease, temp := strings.CutPrefix(name, tempPrefix)
		lease, _, _ = strings.Cut(lease, "-")
		return temp && !r.leases.names[lease] || strings.HasPrefix(name, trashPrefix)
	}
	for _, d := range [...]struct {
		dir    string
		isTemp func(string) bool
	}{{r.s.layerDir(), isRecordTemp}, {r.s.contentDir(), atomicfile.IsTemp}, {r.s.dir, atomicfile.IsTemp}} {
		entries, err := os.ReadDir(d.dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !d.isTemp(e.Name()) {
				continue
			}
			if err := os.RemoveAll(d.dir + "/" + e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// GC takes what no record and no lease leads to out of the layer store: drafts
// of dead processes, and all layers, writable ones too, that inUse does not
// claim for somebody else, a container or the build cache.
func (r *Removal) GC(inUse func(id string) bool) error {
	chains, err := r.s.chains()
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(chains))
	for _, c := range chains {
		id, err := r.s.cacheID(c)
		if err != nil {
			return err // a damaged record: better keep too much
		}
		known[id] = true
	}
	return r.s.layers.GC(func(id string) bool { return known[id] || r.Kept(id) || inUse(id) })
}

// layers removes those of the candidates that nothing uses.
func (r *Removal) layers(candidates []oci.Digest, inUse func(snapshot string) bool) ([]Layer, error) {
	if err := r.count(); err != nil {
		return nil, err
	}
	var drop []Layer
	seen := map[oci.Digest]bool{}
	for _, c := range candidates {
		if r.users[c] > 0 || seen[c] {
			continue
		}
		seen[c] = true
		l, err := r.s.Layer(c)
		if errors.Is(err, errdefs.NotFound) {
			continue
		}
		if err != nil && l.Snapshot == "" {
			continue // a damaged record: its directory is left to check and repair
		}
		if inUse(l.Snapshot) || r.Kept(l.Snapshot) {
			continue
		}
		drop = append(drop, l)
	}
	return drop, r.drop(drop)
}

// drop removes layers: all records first, then, when that is on disk, the files.
func (r *Removal) drop(layers []Layer) error {
	if len(layers) == 0 {
		return nil
	}
	r.s.step("remove records")
	var trash []string
	for _, l := range layers {
		name := r.s.layerDir() + "/" + trashPrefix + ident.NewLink()
		if err := os.Rename(r.s.LayerDir(l.Chain), name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		trash = append(trash, name)
	}
	if err := atomicfile.SyncDir(r.s.layerDir()); err != nil {
		return err
	}
	r.s.step("remove layers")
	var errs []error
	for i, l := range layers {
		errs = append(errs, r.s.layers.Remove(l.Snapshot), os.RemoveAll(trash[i]))
	}
	return errors.Join(errs...)
}

// count counts the users of every layer, once: nobody else adds one meanwhile.
func (r *Removal) count() error {
	if r.users != nil {
		return nil
	}
	ids, err := r.s.imageIDs()
	if err != nil {
		return err
	}
	r.users = map[oci.Digest]int{}
	for _, id := range ids {
		for _, c := range r.s.chainOf(oci.Digest("sha256:" + id)) {
			r.users[c]++
		}
	}
	leased := map[oci.Digest]bool{}
	for d := range r.leases.digests {
		for d != "" && !leased[d] { // a lease on a layer is one on all below it
			leased[d] = true
			r.users[d]++
			d, _ = readDigest(r.s.LayerDir(d) + "/parent")
		}
	}
	return nil
}

// chainOf returns the chain ids of an image, base first; none if its config
// cannot be read, for then nobody can use the image.
func (s *Store) chainOf(id oci.Digest) []oci.Digest {
	raw, err := os.ReadFile(s.content(id))
	if err != nil {
		return nil
	}
	var c struct {
		RootFS oci.RootFS `json:"rootfs"`
	}
	if json.Unmarshal(raw, &c) != nil {
		return nil
	}
	for _, d := range c.RootFS.DiffIDs {
		if _, err := oci.ParseDigest(string(d)); err != nil {
			return nil
		}
	}
	return ChainIDs(c.RootFS.DiffIDs)
}
