package transfer

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"berth/internal/errdefs"
	"berth/internal/image/attestation"
	"berth/internal/image/catalog"
	"berth/internal/image/packing"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Target is where images are pushed to: one repository of a registry.
type Target interface {
	// HasBlob reports whether the repository has a blob.
	HasBlob(ctx context.Context, d oci.Descriptor) (bool, error)
	// Mount makes it have a blob that another repository of the same registry
	// has, and reports whether that could be done.
	Mount(ctx context.Context, d oci.Descriptor, from reference.Named) (bool, error)
	// Upload sends a blob; sent is how far it got, which may go back.
	Upload(ctx context.Context, d oci.Descriptor, content io.ReaderAt, on func(sent int64)) error
	// PutManifest stores a document under a tag or under its digest.
	PutManifest(ctx context.Context, ref, mediaType string, doc []byte) error
}

// PushOptions say how images are pushed.
type PushOptions struct {
	// Platform is what the image must be for; nil: anything.
	Platform *oci.Platform
	// Packing is how layers are packed that the registry does not have; nil:
	// gzip. If given, layers that are there packed otherwise are sent again.
	Packing *packing.Options
	Report  Report
}

// Pushed is what came of a push.
type Pushed struct {
	ID oci.Digest // the image
	// Descriptor is what the name leads to in the registry: a manifest, or an
	// index if something is attested of the image.
	Descriptor oci.Descriptor
}

// Push sends the image that ref, a name with a tag, has here to the repository
// dst, and gives it that tag there. Layers that the registry has are not sent.
func (s *Store) Push(ctx context.Context, dst Target, ref reference.Named, o PushOptions) (Pushed, error) {
	lease, err := s.images.Lease()
	if err != nil {
		return Pushed{}, err
	}
	defer lease.Close() //nolint:errcheck // it ends with the process at the latest
	id, err := s.images.Lookup(ref.Familiar())
	if errdefs.KindOf(err) == errdefs.NotFound {
		return Pushed{}, errdefs.New(errdefs.NotFound, "An image does not exist locally with the tag: %s", ref.FamiliarName()).
			WithHint("list the images with: berth image ls; name one with: berth tag IMAGE %s", ref.Familiar())
	}
	if err != nil {
		return Pushed{}, err
	}
	img, err := lease.UseImage(id)
	if err != nil {
		return Pushed{}, err
	}
	if err := checkPlatform(ref.Familiar(), &img.Config, o.Platform); err != nil {
		return Pushed{}, err
	}
	p := &push{s: s, dst: dst, ref: ref, o: o, lease: lease, img: img}
	return p.run(ctx)
}

// Tags returns the names with tags that a repository has here, sorted.
func (s *Store) Tags(repository reference.Named) ([]reference.Named, error) {
	names, err := s.images.Names()
	if err != nil {
		return nil, err
	}
	return tagsOf(names, repository), nil
}

// push is one run of Push.
type push struct {
	s     *Store
	dst   Target
	ref   reference.Named
	o     PushOptions
	lease *catalog.Lease
	img   *catalog.Image
}

func (p *push) run(ctx context.Context) (Pushed, error) {
	layers, err := p.layers(ctx)
	if err != nil {
		return Pushed{}, err
	}
	config := oci.Descriptor{MediaType: oci.MediaTypeConfig, Digest: p.img.ID, Size: int64(len(p.img.Raw))}
	if err := p.small(ctx, config, p.img.Raw); err != nil {
		return Pushed{}, err
	}
	manifest, err := p.manifest(config, layers)
	if err != nil {
		return Pushed{}, err
	}
	d, doc, err := p.attested(ctx, manifest)
	if err != nil {
		return Pushed{}, err
	}
	if err := p.dst.PutManifest(ctx, p.ref.Tag(), d.MediaType, doc); err != nil {
		return Pushed{}, err
	}
	_, err = p.s.images.Tag(p.ref.Repository().WithDigest(d.Digest), p.img.ID)
	return Pushed{ID: p.img.ID, Descriptor: d}, err
}

// layers brings all layers to the registry, several at a time, and returns their
// descriptors. A layer that is in the image twice is sent once.
func (p *push) layers(ctx context.Context) ([]oci.Descriptor, error) {
	diffIDs := p.img.Config.RootFS.DiffIDs
	chain := p.img.Chain()
	for _, d := range slices.Backward(diffIDs) { // the topmost first, as Docker lists them
		p.say(d, Preparing)
	}
	done := make([]oci.Descriptor, len(diffIDs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.s.parallel)
	for i, d := range slices.Backward(diffIDs) {
		if slices.Index(diffIDs, d) < i {
			continue
		}
		g.Go(func() (err error) {
			l := &pushedLayer{push: p, diffID: d, chain: chain[i]}
			done[i], err = l.bring(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, d := range diffIDs {
		done[i] = done[slices.Index(diffIDs, d)]
	}
	return done, nil
}

func (p *push) say(layer oci.Digest, s Status) {
	p.o.Report.send(Event{ID: layer.Hex()[:12], Status: s})
}

// small brings a document to the registry that is kept as a blob.
func (p *push) small(ctx context.Context, d oci.Descriptor, doc []byte) error {
	has, err := p.dst.HasBlob(ctx, d)
	if err != nil || has {
		return err
	}
	return p.dst.Upload(ctx, d, bytesAt(doc), func(int64) {})
}

// bytesAt reads a document as a file.
type bytesAt []byte

func (b bytesAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	return copy(p, b[off:]), nil
}

// document is a manifest or index on its way.
type document struct {
	oci.Descriptor
	raw []byte
}

func newDocument(mediaType string, raw []byte) document {
	return document{oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(raw), Size: int64(len(raw))}, raw}
}

// manifest makes the image's manifest. An image that came by one leaves by the
// same, if its layers are packed as they were.
func (p *push) manifest(config oci.Descriptor, layers []oci.Descriptor) (document, error) {
	if came, err := p.s.images.Manifest(p.img.ID); err == nil && came != nil {
		doc, err := oci.ParseDocument(came, "")
		if m := doc.Manifest; err == nil && m != nil && m.Config.Digest == config.Digest && slices.EqualFunc(m.Layers, layers, sameBlob) {
			return newDocument(doc.MediaType, came), nil
		}
	}
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaTypeManifest, Config: config, Layers: []oci.Descriptor{}}
	for _, d := range layers {
		m.Layers = append(m.Layers, oci.Descriptor{MediaType: layerType(d.MediaType), Digest: d.Digest, Size: d.Size})
	}
	raw, err := json.Marshal(m)
	return newDocument(m.MediaType, raw), err
}

func sameBlob(a, b oci.Descriptor) bool { return a.Digest == b.Digest && a.Size == b.Size }

// layerType gives a layer's type in OCI's words: a manifest holds no others.
func layerType(t string) string {
	switch t {
	case oci.MediaTypeDockerLayer:
		return oci.MediaTypeLayerGzip
	case oci.MediaTypeDockerLayer[:len(oci.MediaTypeDockerLayer)-len(".gzip")]:
		return oci.MediaTypeLayer
	}
	return t
}

// attested puts the manifest and what is said about the image into an index; the
// manifest itself if nothing is. What it leads to is in the registry then.
func (p *push) attested(ctx context.Context, m document) (oci.Descriptor, []byte, error) {
	said, err := p.s.images.Attestations(p.img.ID)
	if err != nil || len(said) == 0 {
		return m.Descriptor, m.raw, err
	}
	platform := oci.HostPlatform()
	if of := platformOf(&p.img.Config); of != nil {
		platform = *of
	}
	subjects := attestation.ImageSubjects([]reference.Named{p.ref}, platform, m.Digest)
	statements := make([]attestation.Statement, len(said))
	for i, s := range said {
		statements[i] = s.About(subjects)
	}
	image := m.Descriptor
	image.Platform = &platform
	about, err := attestation.NewManifest(image, statements)
	if err != nil {
		return oci.Descriptor{}, nil, err
	}
	for _, digest := range slices.Sorted(maps.Keys(about.Blobs)) {
		if digest == about.Descriptor.Digest {
			continue
		}
		doc := about.Blobs[digest]
		if err := p.small(ctx, oci.Descriptor{Digest: digest, Size: int64(len(doc))}, doc); err != nil {
			return oci.Descriptor{}, nil, err
		}
	}
	for _, doc := range []document{m, {about.Descriptor, about.Blobs[about.Descriptor.Digest]}} {
		if err := p.dst.PutManifest(ctx, string(doc.Digest), doc.MediaType, doc.raw); err != nil {
			return oci.Descriptor{}, nil, err
		}
	}
	x := oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []oci.Descriptor{image, about.Descriptor}}
	raw, err := json.Marshal(x)
	d := newDocument(x.MediaType, raw)
	return d.Descriptor, raw, err
}
