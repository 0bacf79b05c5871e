package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"berth/internal/build/cache"
	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
)

// Squash returns the result with one layer in place of all that lie above its
// base image: what a step wrote and a later one deleted is in none. The steps'
// own layers stay in the cache; the new one is found there again.
//
// The history keeps its lines, none of which has a layer any more, and gets one
// for the layer, as Docker's --squash does.
func Squash(ctx context.Context, r *solve.Result, dataRoot string, events progress.Sink) (_ *solve.Result, err error) {
	if len(r.Layers) < 2 {
		return r, nil
	}
	v := begin(events, "squashing layers")
	defer func() { v.finish(err) }()
	below := ""
	if r.Base != nil {
		below = r.Base.TopLayer
	}
	l, err := openStores(dataRoot).squashed(ctx, r, below)
	if err != nil {
		return nil, err
	}
	out := *r
	out.Layers, out.TopLayer = []solve.Layer{l}, l.ID
	out.Config.History = slices.Clone(r.Config.History)
	base := 0
	if r.Base != nil {
		base = len(r.Base.Config.History)
	}
	for i := base; i < len(out.Config.History); i++ {
		out.Config.History[i].EmptyLayer = true
	}
	out.Config.History = append(out.Config.History, oci.History{Created: out.Config.Created, Comment: fmt.Sprintf("squashed %d layers", len(r.Layers))})
	return &out, nil
}

// squashed finds the layer that is all of the result's, or makes it.
func (s *stores) squashed(ctx context.Context, r *solve.Result, below string) (l solve.Layer, err error) {
	k := cache.NewKey("squash").Add("onto", below)
	for _, l := range r.Layers {
		k.Add("layer", l.ID)
	}
	l = solve.Layer{Key: k.Sum(), Text: fmt.Sprintf("squash of %d layers", len(r.Layers))}
	for _, one := range r.Layers {
		if one.Created.After(l.Created) {
			l.Created = one.Created
		}
	}
	unlock, err := s.cache.Lock(ctx, l.Key)
	if err != nil {
		return l, err
	}
	defer unlock()
	have, err := s.cache.Get(ctx, r.Lease, l.Key, below)
	if err != nil {
		return l, err
	}
	if have != nil {
		l.ID, l.DiffID, l.Size, l.Cached = have.Layer, have.DiffID, have.Size, true
		return l, nil
	}
	d, err := s.layers.Begin(below)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	if err := s.merge(ctx, d, r.Layers); err != nil {
		return l, err
	}
	l.ID = d.ID()
	if l.Size, err = snapshot.TreeSize(d.Dir()); err != nil {
		return l, err
	}
	record := cache.Record{Key: l.Key, Type: cache.Regular, Layer: l.ID, Below: below, Size: l.Size, Created: l.Created, Text: l.Text}
	return l, s.cache.Put(ctx, r.Lease, record, func() error {
		_, err := d.CommitUnsynced(ctx)
		return err
	})
}

// merge unpacks the layers one over the other into the draft, as it is seen from
// inside: so the kernel finds out what of them is a change to what lies below.
func (s *stores) merge(ctx context.Context, d *snapshot.Draft, layers []solve.Layer) error {
	var root *os.File
	var err error
	if d.Parent() != "" {
		root, err = d.Mount(ctx) // the draft closes it
	} else if root, err = os.Open(d.Dir()); err == nil {
		defer root.Close()
	}
	if err != nil {
		return err
	}
	for _, l := range layers {
		err := through(func(w io.Writer) error { return s.diff(ctx, w, l.ID, nil) }, func(tar io.Reader) error {
			_, err := archive.Apply(ctx, root, tar, archive.ApplyOptions{Delete: true})
			return err
		})
		if err != nil {
			return err
		}
	}
	return d.Unmount()
}
