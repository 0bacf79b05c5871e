package cache

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/filelock"
	"berth/internal/image/catalog"
)

// PruneOptions say what Prune removes.
type PruneOptions struct {
	// Match selects items; nil selects all.
	Match func(*Item) bool
	// Keep is how many bytes may stay: what was used last is kept.
	Keep int64
	// All also forgets the records of layers that an image has. That frees
	// nothing now; the layers go with the image.
	All bool
}

// everything reports whether nothing at all is to be remembered.
func (o *PruneOptions) everything() bool { return o.All && o.Match == nil && o.Keep == 0 }

// Pruned is what was removed, in the order of removal.
type Pruned struct {
	Items []Item
	Freed int64 // bytes
}

// Prune removes what nobody uses: records, the layers that only they named, and
// cache mounts. It waits for no build, and takes nothing that a running one
// stands on.
func (c *Cache) Prune(ctx context.Context, o PruneOptions) (Pruned, error) {
	var p Pruned
	if err := c.measure(); err != nil {
		return p, err
	}
	right, err := c.images.Exclusive()
	if err != nil {
		return p, err
	}
	err = c.prune(ctx, right, o, &p)
	err = errors.Join(err, right.Close())
	_, rerr := c.layers.Reclaim(ctx)
	return p, errors.Join(err, rerr, c.reclaimMounts())
}

// collectEvery is how often Enforce collects what killed builds left though the
// cache is within its limit.
const collectEvery = time.Hour

// Enforce brings the cache within limit bytes, as far as running builds let it,
// and now and then collects what killed ones left. A build that has made
// something calls it when it ends. As long as there is room it holds nobody up.
func (c *Cache) Enforce(ctx context.Context, limit int64) (Pruned, error) {
	stamp := c.dir + "/collected"
	if info, err := os.Lstat(stamp); err == nil && time.Since(info.ModTime()) < collectEvery {
		size, err := c.atMost()
		if err != nil || size <= limit {
			return Pruned{}, err
		}
	}
	p, err := c.Prune(ctx, PruneOptions{Keep: max(limit, 1)})
	if err == nil {
		err = atomicfile.Write(stamp, nil, 0o600, atomicfile.Atomic)
	}
	return p, err
}

// atMost returns the bytes of everything in the cache, those included that
// images have as well.
func (c *Cache) atMost() (sum int64, err error) {
	if err := c.measure(); err != nil {
		return 0, err
	}
	records, err := c.records()
	for _, r := range records {
		sum += r.Size
	}
	names, merr := c.mountNames()
	for _, name := range names {
		if isMountName(name) {
			a, _ := c.readAbout(name)
			sum += a.Size
		}
	}
	return sum, errors.Join(err, merr)
}

// Usage returns all items, those used longest ago first.
func (c *Cache) Usage(ctx context.Context) ([]Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := c.measure(); err != nil {
		return nil, err
	}
	right, err := c.images.Exclusive()
	if err != nil {
		return nil, err
	}
	s, err := c.survey(right)
	if err == nil {
		err = s.addMounts()
	}
	if err = errors.Join(err, right.Close()); err != nil {
		return nil, err
	}
	s.oldestFirst()
	items := make([]Item, len(s.items))
	for i, it := range s.items {
		items[i] = it.Item
	}
	return items, nil
}

func (c *Cache) prune(ctx context.Context, right *catalog.Removal, o PruneOptions, p *Pruned) error {
	memo := time.Now()
	if !o.everything() {
		memo = memo.Add(-keepMemo)
	}
	if err := errors.Join(c.sweep(), c.sweepMemos(memo)); err != nil {
		return err
	}
	s, err := c.survey(right)
	if err != nil {
		return err
	}
	if err := s.addMounts(); err != nil {
		return err
	}
	if err := s.prune(ctx, o, p); err != nil {
		return err
	}
	return c.collect(right)
}

// prune removes items until the options are met.
func (s *survey) prune(ctx context.Context, o PruneOptions, p *Pruned) error {
	s.oldestFirst()
	var total int64
	for _, it := range s.items {
		if !it.Shared {
			total += it.Size
		}
	}
	// An item can go when no layer lies on its own. Using a step uses all below
	// it, so one pass does nearly always; another follows while it helps.
	for again := true; again; {
		again = false
		for _, it := range s.items {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if it.gone || o.Keep > 0 && total <= o.Keep || !it.prunable(o) {
				continue
			}
			gone, err := s.remove(it)
			if err != nil {
				return err
			}
			for _, it := range gone {
				again = true
				p.Items = append(p.Items, it.Item)
				if !it.Shared {
					p.Freed += it.Size
					total -= it.Size
				}
			}
		}
	}
	return nil
}

// prunable reports whether the options select the item and nothing holds it.
func (it *item) prunable(o PruneOptions) bool {
	switch {
	case it.InUse, o.Match != nil && !o.Match(&it.Item):
		return false
	case it.Type == CacheMount:
		return true
	case !it.made: // it has no bytes, and goes with the layer it stands on
		return o.Keep == 0
	case it.Shared:
		return o.Keep == 0 && o.All
	}
	return it.layer.users == 0
}

// remove removes an item, and with a layer also what other steps left as it was.
// It returns what is gone: nothing if a cache mount is in use.
func (s *survey) remove(it *item) (gone []*item, err error) {
	switch {
	case it.Type == CacheMount:
		if ok, err := s.c.removeMount(it.ID); !ok || err != nil {
			return nil, err
		}
		it.gone = true
		return []*item{it}, nil
	case it.made:
		gone = slices.Clone(it.layer.items)
	default:
		gone = []*item{it}
	}
	for _, it := range gone {
		s.c.step("remove record")
		if err := s.c.drop(it.key); err != nil {
			return nil, err
		}
		it.gone = true
	}
	if it.layer != nil {
		it.layer.items = slices.DeleteFunc(it.layer.items, func(it *item) bool { return it.gone })
		it.layer.release()
	}
	return gone, nil
}

// release tells the layers below that this one will be collected, if it will.
func (l *layer) release() {
	for ; l != nil && l.users == 0 && len(l.items) == 0 && !l.pinned; l = l.parent {
		if l.parent != nil {
			l.parent.users--
		}
	}
}

// collect removes the layers that no record names any more: what prune gave up,
// what killed builds left, and what lay on a layer whose record was replaced.
func (c *Cache) collect(right *catalog.Removal) error {
	named, err := c.Layers()
	if err != nil {
		return err
	}
	container, err := c.layers.UnderWritable()
	if err != nil {
		return err
	}
	c.step("collect")
	if _, err := right.Sweep(func(id string) bool { return named(id) || container(id) }); err != nil {
		return err
	}
	return right.GC(func(id string) bool {
		writable := c.layers.Exists(id) && !c.layers.Committed(id)
		return writable || named(id) || container(id)
	})
}

// keepState is how long a state is kept that nobody has looked into.
const keepState = 7 * 24 * time.Hour

// sweep removes what cannot be of use to anybody: records of an earlier boot
// whose layers were never synced, records whose layer or whose layer below is
// gone, states that nobody has looked into for long, temporary files, locks of
// dead processes.
//
// Preconditions: the catalog's exclusive lock is held, so nobody writes records.
func (c *Cache) sweep() error {
	if err := c.makeDirs(); err != nil {
		return err
	}
	records, err := c.records()
	if err != nil {
		return err
	}
	for _, r := range records {
		gone := func(layer string) bool { return layer != "" && !c.layers.Exists(layer) }
		old := r.Type == State && time.Since(r.used) > keepState
		if old || !c.current(r.Record) || gone(r.Layer) || gone(r.Below) {
			if err := c.drop(r.Key); err != nil {
				return err
			}
		}
	}
	entries, err := os.ReadDir(c.recordDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if atomicfile.IsTemp(e.Name()) {
			if err := os.Remove(c.recordDir() + "/" + e.Name()); err != nil {
				return err
			}
		}
	}
	return c.sweepLocks()
}

// sweepLocks removes the lock files that nobody holds. Who opened one just now
// notices that it is gone, and makes it again.
func (c *Cache) sweepLocks() error {
	entries, err := os.ReadDir(c.lockDir())
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := c.lockDir() + "/" + e.Name()
		l, err := filelock.TryExclusive(path)
		if errors.Is(err, filelock.ErrLocked) {
			continue
		}
		if err == nil {
			err = errors.Join(os.Remove(path), l.Unlock())
		}
		if err != nil {
			return err
		}
	}
	return nil
}
