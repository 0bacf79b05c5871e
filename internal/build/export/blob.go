package export

import (
	"context"
	"io"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/image/layertar"
	"berth/internal/image/packing"
)

// unpacked is a layer to be packed.
type unpacked struct {
	id    string
	write func(context.Context, io.Writer) error
}

// stack returns all layers of a result, those of its base image first. Those
// give the tars that the image's config names, whoever made them.
func (s *stores) stack(r *solve.Result, rewrite bool) ([]unpacked, error) {
	var all []unpacked
	if r.Base != nil {
		for _, chain := range catalog.ChainIDs(r.Base.Config.RootFS.DiffIDs) {
			t, err := layertar.Open(s.images, s.layers, chain)
			if err != nil {
				return nil, err
			}
			all = append(all, unpacked{chain.Hex(), t.Write})
		}
	}
	var latest *time.Time
	if rewrite {
		latest = r.Plan.Epoch
	}
	for _, l := range r.Layers {
		all = append(all, unpacked{l.ID, func(ctx context.Context, w io.Writer) error { return s.diff(ctx, w, l.ID, latest) }})
	}
	return all, nil
}

// pack packs layers, several at a time. The caller closes the files of those
// that are returned, also with an error.
func (s *stores) pack(ctx context.Context, layers []unpacked, o *ArchiveOptions) ([]*packing.Blob, error) {
	blobs := make([]*packing.Blob, len(layers))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, l := range layers {
		g.Go(func() (err error) {
			p := packing.Options{Compression: o.Compression, Level: o.Level, Docker: o.Docker}
			blobs[i], err = packing.Pack(s.layers.Dir(), p, func(w io.Writer) error { return l.write(ctx, w) })
			return errdefs.Wrap(err, "pack", "layer "+ident.Short(l.id))
		})
	}
	return blobs, g.Wait()
}

func closeAll(blobs []*packing.Blob) {
	for _, b := range blobs {
		if b != nil {
			b.Close() //nolint:errcheck // it was only read
		}
	}
}
