package transfer

import (
	"context"
	"io"
	"slices"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/layertar"
	"berth/internal/image/packing"
	"berth/internal/oci"
	"berth/internal/reference"
)

// maxAsked is how many places a registry is asked for before a layer is packed.
const maxAsked = 4

// pushedLayer is one layer on its way to a registry.
type pushedLayer struct {
	*push
	diffID, chain oci.Digest
	asked         []oci.Digest // the registry said that it has them not
}

// bring makes sure that the registry has the layer, with as little work as
// possible: it may be there; another repository may have it; else it is packed,
// and may be there after all; and at last it is sent.
func (l *pushedLayer) bring(ctx context.Context) (oci.Descriptor, error) {
	b, done, err := l.known(ctx)
	if err == nil && !done {
		b, err = l.send(ctx)
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	b.Repository = l.repository.Name()
	return b.Descriptor(), l.lease.AddBlob(l.chain, b)
}

// known looks for the layer where it was before.
func (l *pushedLayer) known(ctx context.Context) (catalog.Blob, bool, error) {
	all := slices.DeleteFunc(l.s.images.Blobs(l.chain), func(b catalog.Blob) bool { return !l.wanted(b) })
	here, near, far := l.sort(all)
	for _, b := range here {
		if has, err := l.ask(ctx, b.Descriptor()); has || err != nil {
			return b, has, err
		}
	}
	for _, b := range near {
		from, err := reference.Parse(b.Repository)
		if err != nil {
			continue
		}
		if has, err := l.dst.Mount(ctx, b.Descriptor(), from); err == nil && has {
			l.o.Report.send(Event{ID: l.diffID.Hex()[:12], Status: Mounted, Detail: from.Path()})
			return b, true, nil
		} else if err != nil && errdefs.KindOf(err) != errdefs.Unauthorized && errdefs.KindOf(err) != errdefs.Forbidden && errdefs.KindOf(err) != errdefs.NotFound {
			return b, false, err
		}
	}
	for _, b := range slices.Concat(near, far) { // who may not read there may have the same layer here
		if has, err := l.ask(ctx, b.Descriptor()); has || err != nil {
			return b, has, err
		}
	}
	return catalog.Blob{}, false, nil
}

// wanted tells whether a packed form will do.
func (l *pushedLayer) wanted(b catalog.Blob) bool {
	if b.Descriptor().IsForeign() {
		return false
	}
	return !l.o.Repack || layerType(b.MediaType) == l.o.Packing.Compression.MediaType(false)
}

// sort parts the places where a layer is: the repository itself, others of its
// registry, and other registries.
func (l *pushedLayer) sort(all []catalog.Blob) (here, near, far []catalog.Blob) {
	for _, b := range all {
		from, err := reference.Parse(b.Repository)
		switch {
		case err != nil:
		case from.Name() == l.repository.Name():
			here = append(here, b)
		case from.Domain() == l.repository.Domain():
			near = append(near, b)
		default:
			far = append(far, b)
		}
	}
	return here, near[:min(len(near), maxAsked)], far[:min(len(far), maxAsked)]
}

// ask asks the registry for a packed form of the layer, each once.
func (l *pushedLayer) ask(ctx context.Context, d oci.Descriptor) (bool, error) {
	if slices.Contains(l.asked, d.Digest) {
		return false, nil
	}
	l.asked = append(l.asked, d.Digest)
	has, err := l.dst.HasBlob(ctx, d)
	if has {
		l.say(l.diffID, LayerExists)
	}
	return has, err
}

// send packs the layer and sends it, unless it is there in that form.
func (l *pushedLayer) send(ctx context.Context) (catalog.Blob, error) {
	// Who may not write there is told before a layer is packed for a minute.
	if len(l.asked) == 0 {
		if _, err := l.dst.HasBlob(ctx, oci.Descriptor{Digest: l.diffID}); err != nil {
			return catalog.Blob{}, err
		}
	}
	t, err := layertar.Open(l.s.images, l.s.layers, l.chain)
	if err != nil {
		return catalog.Blob{}, err
	}
	p, err := packing.Pack(l.s.layers.Dir(), l.o.Packing, func(w io.Writer) error { return t.Write(ctx, w) })
	if err != nil {
		return catalog.Blob{}, err
	}
	defer p.Close()
	b := catalog.Blob{Digest: p.Digest, Size: p.Size, MediaType: p.MediaType}
	if has, err := l.ask(ctx, p.Descriptor); has || err != nil {
		return b, err
	}
	id := l.diffID.Hex()[:12]
	err = l.dst.Upload(ctx, p.Descriptor, p.File, func(sent int64) {
		l.o.Report.send(Event{ID: id, Status: Pushing, Current: sent, Total: p.Size})
	})
	if err == nil {
		l.say(l.diffID, LayerPushed)
	}
	return b, err
}
