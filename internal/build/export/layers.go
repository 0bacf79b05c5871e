package export

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"berth/internal/build/cache"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
)

// stores are the places of a data root that exports read and write.
type stores struct {
	cache  *cache.Cache
	images *catalog.Store
	layers *snapshot.Store
}

func openStores(dataRoot string) *stores {
	return &stores{cache.Open(dataRoot), catalog.Open(dataRoot), snapshot.Open(dataRoot)}
}

// LayerTar writes the tar of a layer as an image has it, its files not later
// than latest (nil: as they are).
func LayerTar(ctx context.Context, w io.Writer, dataRoot string, l solve.Layer, latest *time.Time) error {
	return openStores(dataRoot).diff(ctx, w, l.ID, latest)
}

// diff writes the tar of a layer.
func (s *stores) diff(ctx context.Context, w io.Writer, layer string, latest *time.Time) error {
	o, dir, err := s.openDiff(layer, latest)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = archive.Diff(ctx, w, dir, o)
	return err
}

func (s *stores) openDiff(layer string, latest *time.Time) (archive.DiffOptions, *os.File, error) {
	changed, err := s.layers.RootChanged(layer)
	if err != nil {
		return archive.DiffOptions{}, nil, err
	}
	dir, err := os.Open(s.layers.Diff(layer))
	return archive.DiffOptions{Root: changed, Latest: latest}, dir, err
}

// learn computes the diff ids that nobody has computed yet, and remembers them.
func (s *stores) learn(ctx context.Context, layers []solve.Layer) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range layers {
		l := &layers[i]
		if l.DiffID != "" {
			continue
		}
		g.Go(func() error {
			sum := sha256.New()
			if err := s.diff(ctx, sum, l.ID, nil); err != nil {
				return err
			}
			l.DiffID = oci.DigestOfSum(sum.Sum(nil))
			return s.cache.Learn(l.Key, l.ID, l.DiffID)
		})
	}
	return g.Wait()
}

// again returns a layer with the same files on top of another one: laid there
// by an earlier export, or now. With latest its files bear no later time.
func (s *stores) again(ctx context.Context, lease *catalog.Lease, l solve.Layer, onto string, latest *time.Time) (_ solve.Layer, err error) {
	k := cache.NewKey("relay").Add("layer", l.ID).Add("onto", onto)
	if latest != nil {
		k.Add("latest", latest.UTC().Format(time.RFC3339Nano))
	}
	key := k.Sum()
	unlock, err := s.cache.Lock(ctx, key)
	if err != nil {
		return l, err
	}
	defer unlock()
	have, err := s.cache.Get(ctx, lease, key, onto)
	if err != nil {
		return l, err
	}
	if have != nil {
		l.ID, l.Key = have.Layer, have.Key
		if latest != nil {
			l.DiffID = have.DiffID
		}
		return l, nil
	}
	d, err := s.layers.Begin(onto)
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, d.Discard()) }()
	if latest == nil {
		err = d.FillFrom(ctx, l.ID)
	} else {
		l.DiffID, err = s.rewrite(ctx, l.ID, d, latest)
	}
	if err != nil {
		return l, err
	}
	l.ID, l.Key = d.ID(), key
	if l.Size, err = snapshot.TreeSize(d.Dir()); err != nil {
		return l, err
	}
	r := cache.Record{Key: key, Type: cache.Regular, Layer: l.ID, Below: onto, DiffID: l.DiffID, Size: l.Size, Created: l.Created, Text: l.Text}
	return l, s.cache.Put(ctx, lease, r, func() error {
		_, err := d.CommitUnsynced(ctx)
		return err
	})
}

// rewrite fills a draft with a copy of a layer whose files are not later than latest.
func (s *stores) rewrite(ctx context.Context, layer string, d *snapshot.Draft, latest *time.Time) (oci.Digest, error) {
	o, from, err := s.openDiff(layer, latest)
	if err != nil {
		return "", err
	}
	defer from.Close()
	into, err := os.Open(d.Dir())
	if err != nil {
		return "", err
	}
	defer into.Close()
	res, err := archive.CopyLayer(ctx, from, into, o)
	return res.DiffID, errdefs.Wrap(err, "rewrite the times of", "layer "+layer)
}

// rewritten returns the result's layers; with Rewrite each is a copy, on the
// copy of the one below, whose files are not later than SOURCE_DATE_EPOCH.
func (s *stores) rewritten(ctx context.Context, r *solve.Result, rewrite bool) ([]solve.Layer, error) {
	if !rewrite || r.Plan.Epoch == nil {
		return r.Layers, nil
	}
	layers := slices.Clone(r.Layers)
	below := ""
	if r.Base != nil {
		below = r.Base.TopLayer
	}
	for i, l := range layers {
		var err error
		if layers[i], err = s.again(ctx, r.Lease, l, below, r.Plan.Epoch); err != nil {
			return nil, err
		}
		below = layers[i].ID
	}
	return layers, nil
}
