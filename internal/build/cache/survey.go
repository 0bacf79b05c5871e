package cache

import (
	"cmp"
	"errors"
	"os"
	"slices"
	"time"

	"berth/internal/image/catalog"
	"berth/internal/oci"
)

// Item is a row of `builder du`: a record, or the directory of a cache mount.
type Item struct {
	ID       string // 64 hex digits: of the key, or the name of the mount
	Type     Type
	Text     string
	Size     int64 // bytes
	Created  time.Time
	LastUsed time.Time
	Parents  []string // IDs of the items that its layer lies on: one or none
	Mutable  bool     // its content changes with each use
	Shared   bool     // an image has the layer too: removing the item frees nothing
	InUse    bool     // a build that runs now stands on it
}

// Reclaimable reports whether removing the item would free its bytes.
func (i *Item) Reclaimable() bool { return !i.Shared && !i.InUse }

// Layers returns a test for the layers that the cache stands on: those of its
// records and all below them. The garbage collection of images asks it.
func (c *Cache) Layers() (func(layer string) bool, error) {
	records, err := c.records()
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, r := range records {
		if !c.current(r.Record) || !c.layers.Exists(r.Layer) {
			continue // without its layer the record is a miss
		}
		for at := r.Layer; at != "" && !used[at]; {
			used[at] = true
			if at, err = c.layers.Parent(at); err != nil {
				return nil, err
			}
		}
	}
	return func(layer string) bool { return used[layer] }, nil
}

// entry is a record as it lies on disk.
type entry struct {
	*Record
	used time.Time
}

// records reads all records. Damaged ones are removed on the way.
func (c *Cache) records() ([]entry, error) {
	names, err := os.ReadDir(c.recordDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var all []entry
	for _, n := range names {
		key, err := oci.ParseDigest("sha256:" + n.Name())
		if err != nil {
			continue // a temporary file; see sweep
		}
		r, err := c.read(key)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, entry{r, c.lastUsed(key)})
		}
	}
	return all, nil
}

// survey is the cache at one moment, with the layers that it stands on.
type survey struct {
	c      *Cache
	items  []*item
	layers map[string]*layer
}

// item is an Item with what its removal needs.
type item struct {
	Item
	key   oci.Digest
	layer *layer // that the step made or left as it was; nil if there is none
	made  bool   // the step made it
	gone  bool
}

// layer is a layer of the layer store that the cache knows of.
type layer struct {
	id     string
	parent *layer
	pinned bool // an image has it, or a running build
	users  int  // layers that lie on it
	items  []*item
}

// survey looks at everything.
//
// Preconditions: right is held, so that nothing changes meanwhile.
func (c *Cache) survey(right *catalog.Removal) (*survey, error) {
	s := &survey{c: c, layers: map[string]*layer{}}
	images, err := right.ImageLayers()
	if err != nil {
		return nil, err
	}
	records, err := c.records()
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if !c.current(r.Record) {
			continue // see sweep
		}
		it := &item{key: r.Key, Item: Item{
			ID: r.Key.Hex(), Type: r.Type, Text: r.Text, Created: r.Created, LastUsed: r.used,
		}}
		if r.Layer != "" {
			if it.layer, err = s.layer(r.Layer); err != nil {
				return nil, err
			}
			if it.layer == nil {
				continue
			}
			it.InUse = right.Kept(r.Layer)
			it.layer.items = append(it.layer.items, it)
		}
		if r.Changed() {
			it.made, it.Size, it.Shared = true, r.Size, images[r.Layer]
		}
		s.items = append(s.items, it)
	}
	for id, l := range s.layers {
		l.pinned = images[id] || right.Kept(id)
	}
	s.findParents()
	return s, nil
}

// layer returns the node of a layer and makes those of all below it; nil if the layer is gone.
func (s *survey) layer(id string) (*layer, error) {
	if l := s.layers[id]; l != nil || !s.c.layers.Exists(id) {
		return l, nil
	}
	top := &layer{id: id}
	s.layers[id] = top
	for at := top; ; {
		id, err := s.c.layers.Parent(at.id)
		if err != nil || id == "" {
			return top, err
		}
		below := s.layers[id]
		known := below != nil
		if !known {
			below = &layer{id: id}
			s.layers[id] = below
		}
		at.parent = below
		below.users++
		if known {
			return top, nil // so are those below
		}
		at = below
	}
}

func (s *survey) findParents() {
	makers := map[*layer]string{}
	for _, it := range s.items {
		if it.made {
			makers[it.layer] = it.ID
		}
	}
	for _, it := range s.items {
		if it.layer == nil || it.layer.parent == nil {
			continue
		}
		if id := makers[it.layer.parent]; id != "" {
			it.Parents = []string{id}
		}
	}
}

// oldestFirst sorts the items by last use, and of those used at the same time
// the ones above before the ones they lie on.
func (s *survey) oldestFirst() {
	depth := func(it *item) (n int) {
		for l := it.layer; l != nil; l = l.parent {
			n++
		}
		return n
	}
	slices.SortStableFunc(s.items, func(a, b *item) int {
		return cmp.Or(a.LastUsed.Compare(b.LastUsed), cmp.Compare(depth(b), depth(a)), cmp.Compare(a.ID, b.ID))
	})
}
