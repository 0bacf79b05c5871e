package portable

import (
	"bytes"
	"context"
	"encoding/json"
	"io"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// Place is where caches are kept: a directory, or a repository of a registry.
type Place interface {
	Blobs
	// Begin gives the right to write until done is called.
	Begin() (done func() error, err error)
	// Manifest reads the document that a tag leads to.
	Manifest(ctx context.Context, tag string) (doc []byte, mediaType string, err error)
	// Has reports whether there is a blob of the digest and size.
	Has(ctx context.Context, d oci.Descriptor) (bool, error)
	// Put stores a blob.
	Put(ctx context.Context, d oci.Descriptor, content io.ReaderAt) error
	// PutManifest gives the tag to a manifest all of whose blobs are there.
	PutManifest(ctx context.Context, tag string, d oci.Descriptor, doc []byte) error
}

// Load reads the cache that a tag leads to: one of berth's, or that inside an image.
func Load(ctx context.Context, p Place, name, tag string, platform oci.Platform) (*Import, error) {
	m, err := manifest(ctx, p, tag, platform)
	if err != nil {
		return nil, err
	}
	raw, err := small(ctx, p, m.Config)
	if err != nil {
		return nil, err
	}
	if m.Config.MediaType == MediaType {
		doc, err := Parse(raw)
		if err != nil {
			return nil, err
		}
		return NewImport(name, doc, p), here(ctx, p, doc)
	}
	doc, err := ParseInline(raw)
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, errdefs.New(errdefs.NotFound, "there is no cache of berth's in it").
			WithHint("one is written by --cache-to type=inline, into an image, or type=registry and type=local")
	}
	c, err := oci.ParseConfig(raw)
	if err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, errdefs.New(errdefs.InvalidArgument, "its manifest has %d layers, its config %d", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	doc.fillBlobs(c.RootFS.DiffIDs, m.Layers)
	return NewImport(name, doc, p), nil
}

// fillBlobs gives the layers of a cache inside an image the image's blobs.
func (d *Document) fillBlobs(diffIDs []oci.Digest, blobs []oci.Descriptor) {
	byID := map[oci.Digest]oci.Descriptor{}
	for i, id := range diffIDs {
		byID[id] = blobs[i]
	}
	for i := range d.Layers {
		d.Layers[i].Blob = byID[d.Layers[i].DiffID]
	}
}

// here takes the layers out of a document that a directory does not have, at a
// glance: the steps on them are not offered then.
func here(ctx context.Context, p Place, doc *Document) error {
	dir, ok := p.(*Directory)
	if !ok {
		return nil // asking a registry for each would cost more than it saves
	}
	gone := map[oci.Digest]bool{}
	kept := doc.Layers[:0]
	for _, l := range doc.Layers {
		has, err := dir.Has(ctx, l.Blob)
		if err != nil {
			return err
		}
		if has {
			kept = append(kept, l)
		} else {
			gone[l.Chain] = true
		}
	}
	doc.Layers = kept
	return nil
}

// maxNesting is how many indexes may lie one in another.
const maxNesting = 3

func manifest(ctx context.Context, p Place, tag string, platform oci.Platform) (*oci.Manifest, error) {
	for range maxNesting {
		raw, mediaType, err := p.Manifest(ctx, tag)
		if err != nil {
			return nil, err
		}
		doc, err := oci.ParseDocument(raw, mediaType)
		if err != nil {
			return nil, err
		}
		if doc.Manifest != nil {
			return doc.Manifest, nil
		}
		next, ok := platform.Select(doc.Index.Manifests)
		if !ok {
			return nil, errdefs.New(errdefs.NotFound, "it has nothing for %s", platform)
		}
		tag = string(next.Digest)
	}
	return nil, errdefs.New(errdefs.InvalidArgument, "its indexes are nested deeper than %d", maxNesting)
}

// small reads a blob that is a document.
func small(ctx context.Context, b Blobs, d oci.Descriptor) ([]byte, error) {
	if d.Size > oci.MaxDocument {
		return nil, errdefs.New(errdefs.InvalidArgument, "a document of %d bytes", d.Size)
	}
	r, err := b.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != d.Size || oci.DigestOf(raw) != d.Digest {
		return nil, errdefs.New(errdefs.InvalidArgument, "%s has other bytes than its name says", d.Digest)
	}
	return raw, nil
}

// Save stores a document, whose blobs are there already, under a tag.
func Save(ctx context.Context, p Place, tag string, doc *Document) error {
	raw, err := doc.Encode()
	if err != nil {
		return err
	}
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaTypeManifest, Config: descriptor(MediaType, raw), Layers: []oci.Descriptor{}}
	seen := map[oci.Digest]bool{}
	for _, l := range doc.Layers {
		if !seen[l.Blob.Digest] {
			m.Layers = append(m.Layers, l.Blob)
		}
		seen[l.Blob.Digest] = true
	}
	if err := putSmall(ctx, p, m.Config, raw); err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return p.PutManifest(ctx, tag, descriptor(m.MediaType, text), text)
}

func descriptor(mediaType string, raw []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(raw), Size: int64(len(raw))}
}

func putSmall(ctx context.Context, p Place, d oci.Descriptor, raw []byte) error {
	if has, err := p.Has(ctx, d); err != nil || has {
		return err
	}
	return p.Put(ctx, d, bytes.NewReader(raw))
}
