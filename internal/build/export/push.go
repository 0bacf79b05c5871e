package export

import (
	"context"
	"errors"

	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Send sends images to the registry that the names are of, all of one
// repository, as transfer.Store.PushAll does.
type Send func(ctx context.Context, names []reference.Named, images []transfer.Outgoing, lease *catalog.Lease, o transfer.PushOptions) (oci.Descriptor, error)

// PushOptions say how results are pushed.
type PushOptions struct {
	DataRoot string
	Names    []reference.Named // with tags, one at least
	Rewrite  bool              // see ImageOptions
	Inline   bool              // as above
	Attest   Attest
	Push     transfer.PushOptions
	Send     Send
	Events   progress.Sink
}

// Push sends the image of one platform, or those of several as one, to the
// registries of their names. Nothing is kept in the store but what it has already.
func Push(ctx context.Context, results []*solve.Result, o PushOptions) (_ Written, err error) {
	v := begin(o.Events, "pushing image")
	defer func() { v.finish(err) }()
	s := openStores(o.DataRoot)
	var w Written
	var images []transfer.Outgoing
	for _, r := range results {
		raw, err := s.compose(ctx, v, r, o.Rewrite, o.Inline)
		if err != nil {
			return w, err
		}
		config, err := oci.ParseConfig(raw)
		if err != nil {
			return w, err
		}
		said, err := o.Attest.of(ctx, r)
		if err != nil {
			return w, err
		}
		p := r.Plan.Platform
		images = append(images, transfer.Outgoing{Image: &catalog.Image{ID: oci.DigestOf(raw), Raw: raw, Config: *config}, Platform: &p, Said: said})
		w.Configs = append(w.Configs, oci.DigestOf(raw))
	}
	for _, names := range byRepository(o.Names) {
		done := v.part("pushing layers to " + names[0].Repository().String())
		if w.Descriptor, err = o.Send(ctx, names, images, results[0].Lease, o.Push); err != nil {
			return w, err
		}
		done()
		for _, n := range names {
			v.part("pushing manifest for " + n.String() + "@" + w.Descriptor.Digest.String())()
		}
		if len(images) > 1 {
			continue
		}
		// If the store has the image, it is known by this digest from now on.
		if _, err := s.images.Tag(names[0].Repository().WithDigest(w.Descriptor.Digest), images[0].Image.ID); err != nil && !errors.Is(err, errdefs.NotFound) {
			return w, err
		}
	}
	return w, nil
}

// byRepository puts names of one repository together, in their order.
func byRepository(names []reference.Named) [][]reference.Named {
	var groups [][]reference.Named
next:
	for _, n := range names {
		for i := range groups {
			if groups[i][0].Name() == n.Name() {
				groups[i] = append(groups[i], n)
				continue next
			}
		}
		groups = append(groups, []reference.Named{n})
	}
	return groups
}
