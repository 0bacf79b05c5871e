package portable

import (
	"context"
	"fmt"
	"io"
	"sync"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// Blobs is where packed layers are read from, unchecked.
type Blobs interface {
	// Open reads a blob from its beginning. ctx outlives the reader.
	Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error)
}

// Import is a cache from elsewhere.
type Import struct {
	Name  string // for messages
	doc   *Document
	blobs Blobs
}

// NewImport returns the cache of a document whose layers are read from blobs;
// nil if those are nowhere but in images of this host.
func NewImport(name string, doc *Document, blobs Blobs) *Import { return &Import{name, doc, blobs} }

// Imports are the caches that a build may use, the first counts first. The zero
// value has none. It may be used by several goroutines at once.
type Imports struct {
	// Warn is told when layers that were found cannot be had; nil: nobody is.
	Warn func(string)

	mu    sync.Mutex // guards what follows
	steps map[oci.Digest]found
	// layers and reads are those of all caches.
	layers map[oci.Digest]*Stacked
	reads  map[oci.Digest]oci.Digest
}

type found struct {
	chain oci.Digest
	full  bool // the files are to be had
}

// Stacked is a layer of a stack, and where it comes from.
type Stacked struct {
	*Layer
	from *Import
}

// Add adds a cache.
func (i *Imports) Add(c *Import) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.steps == nil {
		i.steps, i.layers, i.reads = map[oci.Digest]found{}, map[oci.Digest]*Stacked{}, map[oci.Digest]oci.Digest{}
	}
	for _, s := range c.doc.Steps {
		if have, ok := i.steps[s.Key]; !ok || !have.full && !s.Hollow {
			i.steps[s.Key] = found{s.Chain, !s.Hollow}
		}
	}
	for n := range c.doc.Layers {
		l := &c.doc.Layers[n]
		if have := i.layers[l.Chain]; have == nil || have.Blob.Digest == "" {
			i.layers[l.Chain] = &Stacked{l, c}
		}
	}
	for _, r := range c.doc.Reads {
		if _, ok := i.reads[r.What]; !ok {
			i.reads[r.What] = r.Digest
		}
	}
}

// Empty reports whether there is nothing to be found.
func (i *Imports) Empty() bool {
	if i == nil {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.steps) == 0
}

// Lose says that a layer that was found cannot be had. Nothing is found from then on.
func (i *Imports) Lose(l *Stacked, cause error) {
	i.mu.Lock()
	known := i.steps != nil
	i.steps, i.layers, i.reads = nil, nil, nil
	i.mu.Unlock()
	if known && i.Warn != nil {
		i.Warn(fmt.Sprintf("the cache %s is not used further: %v", l.From(), cause))
	}
}

// Knows reports whether somebody made what the key names.
func (i *Imports) Knows(key oci.Digest) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, ok := i.steps[key]
	return ok
}

// Read returns what was read of a stage, "" if that is not known.
func (i *Imports) Read(what oci.Digest) oci.Digest {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.reads[what]
}

// Find returns the layers that a step's files are made of, above the stack of a
// base image ("" for none), if they are to be had.
func (i *Imports) Find(key, base oci.Digest) (stack []*Stacked, ok bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f := i.steps[key]
	if !f.full {
		return nil, false
	}
	for chain := f.chain; chain != base; {
		l := i.layers[chain]
		if l == nil {
			return nil, false
		}
		stack = append(stack, l)
		chain = l.Below
	}
	for a, b := 0, len(stack)-1; a < b; a, b = a+1, b-1 {
		stack[a], stack[b] = stack[b], stack[a]
	}
	return stack, true
}

// Open reads the packed layer.
func (l *Stacked) Open(ctx context.Context) (io.ReadCloser, error) {
	if l.from.blobs == nil || l.Blob.Digest == "" {
		return nil, errdefs.New(errdefs.NotFound, "the layer %s is in no image of this host any more", l.Chain)
	}
	return l.from.blobs.Open(ctx, l.Blob)
}

// From names the cache that the layer comes from.
func (l *Stacked) From() string { return l.from.Name }
