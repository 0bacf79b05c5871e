package export

import (
	"context"
	"encoding/json"
	"errors"

	"berth/internal/build/plan"
	"berth/internal/build/portable"
	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/reference"
)

// ImageOptions say what image is made of a result.
type ImageOptions struct {
	DataRoot string
	Names    []reference.Named // with tags
	Parent   oci.Digest        // the image of the state before the last step; "": none is kept
	// Rewrite gives files that are later than SOURCE_DATE_EPOCH that time; it
	// needs the epoch (rewrite-timestamp=true).
	Rewrite bool
	Inline  bool // the image's cache goes along in its config
	Attest  Attest
	Events  progress.Sink
}

// maxRaces bounds how often others may record the same stack with files of
// their own while we look: each time they did our work.
const maxRaces = 10

// Image makes an image of the store, durably, and names it.
func Image(ctx context.Context, r *solve.Result, o ImageOptions) (_ *catalog.Image, err error) {
	v := begin(o.Events, "exporting to image")
	defer func() { v.finish(err) }()
	s := openStores(o.DataRoot)
	raw, err := s.compose(ctx, v, r, o.Rewrite, o.Inline)
	if err != nil {
		return nil, err
	}
	parent := o.Parent
	if parent == oci.DigestOf(raw) {
		parent = "" // it is that image itself, which knows its own
	}
	img, err := r.Lease.Put(ctx, raw, parent)
	if err != nil {
		return nil, err
	}
	v.part("writing image " + img.ID.String())()
	said, err := o.Attest.of(ctx, r)
	if err != nil {
		return nil, err
	}
	if len(said) > 0 {
		if err := r.Lease.Attest(img.ID, said); err != nil {
			return nil, err
		}
	}
	for _, n := range o.Names {
		if _, err := s.images.Tag(n, img.ID); err != nil {
			return nil, err
		}
		v.part("naming to " + n.String())()
	}
	return img, r.MarkSynced(s.cache)
}

// compose puts the layers of a result on record and returns the image's config.
func (s *stores) compose(ctx context.Context, v *vertex, r *solve.Result, rewrite, inline bool) ([]byte, error) {
	defer v.part("exporting layers")()
	layers, err := s.rewritten(ctx, r, rewrite)
	if err != nil {
		return nil, err
	}
	if err := s.learn(ctx, layers); err != nil {
		return nil, err
	}
	if !rewrite {
		copy(r.Layers, layers) // with the diff ids, for the next export of the result
	}
	for races := 0; ; races++ {
		err := s.record(ctx, r, layers)
		if err == nil {
			return document(r, layers, inline)
		}
		if !errors.Is(err, errdefs.AlreadyExists) || races == maxRaces {
			return nil, err
		}
	}
}

// document is the image's config.
func document(r *solve.Result, layers []solve.Layer, inline bool) ([]byte, error) {
	c := r.Config
	c.RootFS.Type = "layers"
	c.RootFS.DiffIDs = append([]oci.Digest{}, c.RootFS.DiffIDs...)
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.DiffID)
	}
	return json.Marshal(configOf(r, c, inline))
}

// configOf is an image's config, with the image's cache if that is to go along.
func configOf(r *solve.Result, c oci.ImageConfig, inline bool) portable.Config {
	config := portable.Config{ImageConfig: c}
	if inline {
		config.Inline = Inline(r)
	}
	return config
}

// baseChain is the chain id of a base image's layers, "" without any.
func baseChain(base *plan.Image) oci.Digest {
	if base == nil {
		return ""
	}
	chain := catalog.ChainIDs(base.Config.RootFS.DiffIDs)
	if len(chain) == 0 {
		return ""
	}
	return chain[len(chain)-1]
}

// record puts the layers on record that are not: a stack of equal layers may be
// there already, from an earlier build or a pull. Those above it are then laid
// on its files. AlreadyExists: another process was faster, look again.
func (s *stores) record(ctx context.Context, r *solve.Result, layers []solve.Layer) error {
	var parent oci.Digest
	below := ""
	if r.Base != nil {
		below = r.Base.TopLayer
		parent = baseChain(r.Base)
	}
	var adopt []catalog.Layer
	stack := parent
	for _, l := range layers {
		chain := catalog.ChainID(stack, l.DiffID)
		if len(adopt) == 0 { // a stack is on record only if those below it are
			have, ok, err := r.Lease.UseLayer(chain)
			if err != nil {
				return err
			}
			if ok {
				stack, parent, below = chain, chain, have.Snapshot
				continue
			}
		}
		lies, err := s.layers.Parent(l.ID)
		if err != nil {
			return err
		}
		if lies != below {
			if l, err = s.again(ctx, r.Lease, l, below, nil); err != nil {
				return err
			}
		}
		adopt = append(adopt, catalog.Layer{DiffID: l.DiffID, Snapshot: l.ID, Size: l.Size})
		stack, below = chain, l.ID
	}
	_, err := r.Lease.Adopt(ctx, parent, adopt)
	return err
}
