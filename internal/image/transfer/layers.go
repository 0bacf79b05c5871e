package transfer

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
	"berth/internal/storage/tarrecord"
)

// layer is one layer of an image on its way in.
type layer struct {
	id     string // as shown to the user
	diffID oci.Digest
	parent oci.Digest // chain id of the stack below, "" for the base layer
	chain  oci.Digest
	// open begins to read the packed layer.
	open func(ctx context.Context) (packed, error)
}

// unpackedLayer is a layer that was unpacked and is not on record yet.
type unpackedLayer struct {
	draft *snapshot.Draft
	res   archive.Result
	// record says how its tar was put together: a file without a name.
	record *os.File
}

// discard gives it up.
func (u *unpackedLayer) discard() error { return errors.Join(u.record.Close(), u.draft.Discard()) }

// packed is a packed layer being read.
type packed interface {
	io.Reader
	// Stop makes a Read that waits return, now and from now on.
	Stop(cause error)
	// Finish ends the reading. unpackErr is what came of it; Finish returns it,
	// or the error behind it, or that the bytes were not those asked for.
	Finish(unpackErr error) error
}

// stack makes the layers of an image from its config's diff ids.
func stack(diffIDs []oci.Digest) []*layer {
	layers := make([]*layer, len(diffIDs))
	chains := catalog.ChainIDs(diffIDs)
	for i, d := range diffIDs {
		layers[i] = &layer{id: d.Hex()[:12], diffID: d, chain: chains[i]}
		if i > 0 {
			layers[i].parent = chains[i-1]
		}
	}
	return layers
}

// installer brings the layers of one image in.
type installer struct {
	s      *Store
	lease  *catalog.Lease
	report Report
	// What is said of a layer that is new, done, or was here all the time; "" says nothing.
	before, after, existing Status
}

// install makes sure that all layers are in the store and covered by the lease.
// It reports whether any was not there.
func (in *installer) install(ctx context.Context, layers []*layer) (fetched bool, err error) {
	g, ctx := errgroup.WithContext(ctx)
	slots := make(chan struct{}, in.s.parallel)
	var missing []int
	done := make([]chan catalog.Layer, len(layers)) // each gets one value, when the layer is on record
	for i, l := range layers {
		done[i] = make(chan catalog.Layer, 1)
		have, ok, err := in.lease.UseLayer(l.chain)
		if err != nil {
			return false, err
		}
		if ok {
			in.say(l, in.existing)
			done[i] <- have
			continue
		}
		in.say(l, in.before)
		missing = append(missing, i)
	}
	for n, i := range missing {
		if n >= in.s.parallel && in.before != "" {
			in.say(layers[i], Waiting)
		}
	}
	for _, i := range missing {
		select {
		case slots <- struct{}{}: // here and not in the goroutine: base layers go first
		case <-ctx.Done():
			return true, g.Wait()
		}
		below := make(chan catalog.Layer, 1)
		below <- catalog.Layer{}
		if i > 0 {
			below = done[i-1]
		}
		g.Go(func() error { return in.one(ctx, layers[i], below, done[i], func() { <-slots }) })
	}
	return len(missing) > 0, g.Wait()
}

// one brings one layer in. below gets the layer under it, and done is told
// when this one is on record; free gives the slot of the work back.
func (in *installer) one(ctx context.Context, l *layer, below <-chan catalog.Layer, done chan<- catalog.Layer, free func()) (err error) {
	release := free
	defer func() { release() }()
	lock, err := in.s.lock(ctx, l.chain, func() {
		in.report.send(Event{ID: l.id, Status: WaitingFor, Detail: "layer"})
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if have, ok, err := in.lease.UseLayer(l.chain); err != nil || ok {
		if ok { // another process has made it in the meantime
			in.say(l, in.existing)
			done <- have
		}
		return err
	}
	u, err := in.unpack(ctx, l)
	if err != nil {
		return err
	}
	release()
	release = func() {}
	var parent catalog.Layer
	select {
	case parent = <-below:
	case <-ctx.Done():
		return errors.Join(context.Cause(ctx), u.discard())
	}
	layer, err := in.commit(ctx, l, parent, u)
	if err != nil {
		return errors.Join(err, u.discard())
	}
	u.record.Close() //nolint:errcheck // it was only read
	done <- layer
	in.say(l, in.after)
	return nil
}

func (in *installer) say(l *layer, s Status) {
	if s != "" {
		in.report.send(Event{ID: l.id, Status: s})
	}
}

// commit puts an unpacked layer on its parent and on record.
func (in *installer) commit(ctx context.Context, l *layer, parent catalog.Layer, u *unpackedLayer) (catalog.Layer, error) {
	if parent.Snapshot != "" {
		if err := u.draft.SetParent(parent.Snapshot, u.res.Root); err != nil {
			return catalog.Layer{}, err
		}
		if err := in.inherit(u.draft, parent.Snapshot, u.res.Implied); err != nil {
			return catalog.Layer{}, err
		}
	}
	return in.lease.AddLayer(ctx, catalog.NewLayer{Draft: u.draft, Parent: l.parent, DiffID: l.diffID, Size: u.res.Bytes, Extra: keepTar(u.record)})
}

// keepTar puts the record of a layer's tar beside the layer's own.
func keepTar(record *os.File) func(dir string) error {
	return func(dir string) error {
		if _, err := record.Seek(0, io.SeekStart); err != nil {
			return err
		}
		f, err := os.OpenFile(catalog.TarRecordIn(dir), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, record)
		return errors.Join(err, f.Close())
	}
}

// inherit gives the directories that the layer did not describe the attributes
// they have below.
func (in *installer) inherit(draft *snapshot.Draft, parent string, implied []string) error {
	if len(implied) == 0 {
		return nil
	}
	lowers, err := in.s.layers.Lowers(parent)
	if err != nil {
		return err
	}
	root, err := os.Open(draft.Dir())
	if err != nil {
		return err
	}
	defer root.Close()
	return archive.Inherit(root, implied, append([]string{in.s.layers.Diff(parent)}, lowers...))
}

// unpack fills a draft with the layer. If what an earlier process had
// downloaded turns out to be damaged, it is fetched anew, once.
func (in *installer) unpack(ctx context.Context, l *layer) (*unpackedLayer, error) {
	u, err := in.tryUnpack(ctx, l)
	var stale *staleError
	if errors.As(err, &stale) {
		u, err = in.tryUnpack(ctx, l)
	}
	return u, err
}

func (in *installer) tryUnpack(ctx context.Context, l *layer) (_ *unpackedLayer, err error) {
	draft, err := in.s.layers.Begin("")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, draft.Discard())
		}
	}()
	src, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { src.Stop(context.Cause(ctx)) })
	defer stop()
	u := &unpackedLayer{draft: draft}
	u.res, u.record, err = in.s.applyPacked(ctx, draft.Dir(), src)
	if err = src.Finish(err); err == nil && u.res.DiffID != l.diffID {
		err = errdefs.New(errdefs.InvalidArgument, "layer %s unpacks to %s, the image's config says %s", l.id, u.res.DiffID, l.diffID).
			WithHint("the image is damaged where it comes from: nothing was stored")
	}
	if err != nil && u.record != nil {
		err = errors.Join(err, u.record.Close())
	}
	return u, err
}

// applyPacked unpacks src into the directory dir.
func (s *Store) applyPacked(ctx context.Context, dir string, src packed) (res archive.Result, record *os.File, err error) {
	u, err := unpackLayer(src)
	if err != nil {
		return res, nil, err
	}
	res, record, err = s.apply(ctx, dir, u)
	if err != nil {
		src.Stop(err) // the decompressor may be waiting for bytes
	}
	return res, record, errors.Join(err, u.Close())
}

// apply unpacks a layer's tar into the directory dir, and records how it was put
// together. The caller closes the record, if there is one.
func (s *Store) apply(ctx context.Context, dir string, u *unpacked) (res archive.Result, _ *os.File, err error) {
	root, err := os.Open(dir)
	if err != nil {
		return res, nil, err
	}
	defer root.Close()
	w, err := tarrecord.NewWriter(s.layers.Dir())
	if err != nil {
		return res, nil, err
	}
	res, err = archive.Apply(ctx, root, u, archive.ApplyOptions{Digest: true, Compressed: u.taken.n.Load, Recorder: w})
	if err != nil {
		return res, nil, errors.Join(err, w.Close())
	}
	record, err := w.Finish()
	return res, record, err
}
