package export

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"berth/internal/build/portable"
	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/image/catalog"
	"berth/internal/image/packing"
	"berth/internal/oci"
)

// CacheOptions say what of a build is written for other builds, and where to.
type CacheOptions struct {
	DataRoot string
	Name     string // of the place, for people
	Place    portable.Place
	Tag      string
	// All writes the layers of all stages, which the builds must have brought here
	// (solve.Options.Everything); else those of the results.
	All     bool
	Packing packing.Options
	Events  progress.Sink
}

// Cache writes what builds of one Dockerfile made for builds elsewhere. Layers
// that the place has are not written again.
func Cache(ctx context.Context, results []*solve.Result, o CacheOptions) (err error) {
	v := begin(o.Events, "exporting cache to "+o.Name)
	defer func() { v.finish(err) }()
	s := openStores(o.DataRoot)
	doc := &portable.Document{}
	layers := map[oci.Digest]string{} // chain id -> the layer's directory
	for _, r := range results {
		if err := s.describe(ctx, doc, layers, r, o.All); err != nil {
			return err
		}
	}
	doc.Sort()
	done, err := o.Place.Begin()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	wrote := v.part("writing layers")
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range doc.Layers {
		g.Go(func() error { return s.send(gctx, &doc.Layers[i], layers[doc.Layers[i].Chain], &o) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	wrote()
	return portable.Save(ctx, o.Place, o.Tag, doc)
}

// send packs a layer and stores it.
func (s *stores) send(ctx context.Context, l *portable.Layer, id string, o *CacheOptions) error {
	b, err := packing.Pack(s.layers.Dir(), o.Packing, func(w io.Writer) error { return s.diff(ctx, w, id, nil) })
	if err != nil {
		return err
	}
	defer b.Close()
	l.Blob = b.Descriptor
	if has, err := o.Place.Has(ctx, l.Blob); err != nil || has {
		return err
	}
	return o.Place.Put(ctx, l.Blob, b.File)
}

// describe adds what a build made to the document.
func (s *stores) describe(ctx context.Context, doc *portable.Document, ids map[oci.Digest]string, r *solve.Result, all bool) error {
	steps, err := s.full(ctx, r, all)
	if err != nil {
		return err
	}
	known := map[oci.Digest]bool{}
	for _, st := range doc.Steps {
		known[st.Key] = true
	}
	made := map[oci.Digest]bool{} // chain ids in doc.Layers
	for _, l := range doc.Layers {
		made[l.Chain] = true
	}
	for _, st := range steps {
		if st.Hollow {
			continue
		}
		below := baseChain(st.Base)
		for n, l := range st.Layers {
			chain := catalog.ChainID(below, l.DiffID)
			if !made[chain] {
				made[chain] = true
				key := l.Key
				if n == len(st.Layers)-1 { // the first that stands on it has made it
					key = st.Key
				}
				doc.Layers = append(doc.Layers, portable.Layer{Chain: chain, Below: below, DiffID: l.DiffID, Key: key, Size: l.Size, Created: l.Created, Text: l.Text})
			}
			if l.ID != "" {
				ids[chain] = l.ID
			}
			below = chain
		}
		if !known[st.Key] {
			doc.Steps = append(doc.Steps, portable.Step{Key: st.Key, Chain: below})
		}
		known[st.Key] = true
	}
	for _, st := range steps {
		if st.Hollow && !known[st.Key] {
			known[st.Key] = true
			doc.Steps = append(doc.Steps, portable.Step{Key: st.Key, Hollow: true})
		}
	}
	for what, digest := range r.Reads {
		doc.Reads = append(doc.Reads, portable.Reading{What: what, Digest: digest})
	}
	return nil
}

// full returns the steps of a result, hollow but for those whose layers are to
// be written, and the diff ids of those filled in.
func (s *stores) full(ctx context.Context, r *solve.Result, all bool) ([]solve.Step, error) {
	steps := slices.Clone(r.Steps)
	var unknown []solve.Layer
	place := map[string]int{} // layer -> its place in unknown
	for i := range steps {
		st := &steps[i]
		st.Hollow = st.Hollow || !all && !isBelow(st, r)
		if st.Hollow {
			continue
		}
		for _, l := range st.Layers {
			if _, ok := place[l.ID]; !ok && l.DiffID == "" {
				place[l.ID] = len(unknown)
				unknown = append(unknown, l)
			}
		}
	}
	if err := s.learn(ctx, unknown); err != nil {
		return nil, err
	}
	for i := range steps {
		steps[i].Layers = slices.Clone(steps[i].Layers)
		for j := range steps[i].Layers {
			if l := &steps[i].Layers[j]; l.DiffID == "" && !steps[i].Hollow {
				l.DiffID = unknown[place[l.ID]].DiffID
			}
		}
	}
	return steps, nil
}

// isBelow reports whether the result stands on what the step made.
func isBelow(st *solve.Step, r *solve.Result) bool {
	if baseChain(st.Base) != baseChain(r.Base) || len(st.Layers) > len(r.Layers) {
		return false
	}
	for i, l := range st.Layers {
		of := r.Layers[i]
		if (l.ID == "" || l.ID != of.ID) && (l.DiffID == "" || l.DiffID != of.DiffID) {
			return false
		}
	}
	return true
}

// Inline returns the cache that the image of a result can hold itself.
func Inline(r *solve.Result) *portable.Inline {
	base := 0
	if r.Base != nil {
		base = len(r.Base.Config.RootFS.DiffIDs)
	}
	in := portable.NewInline(base)
	known := map[oci.Digest]bool{}
	for _, st := range r.Steps {
		if known[st.Key] {
			continue
		}
		known[st.Key] = true
		n := -1
		if !st.Hollow && isBelow(&st, r) {
			n = len(st.Layers)
		}
		in.Steps = append(in.Steps, portable.InlineStep{Key: st.Key, Layers: n})
	}
	for what, digest := range r.Reads {
		in.Reads = append(in.Reads, portable.Reading{What: what, Digest: digest})
	}
	in.Sort()
	return in
}
