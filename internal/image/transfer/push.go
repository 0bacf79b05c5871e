package transfer

import (
	"bytes"
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
	// Packing is how layers are packed that the registry does not have. With
	// Repack those that it has packed otherwise are sent again.
	Packing packing.Options
	Repack  bool
	// Manifest and Index are annotations of what is made here.
	Manifest, Index map[string]string
	Report          Report
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
	said, err := s.images.Attestations(img.ID)
	if err != nil {
		return Pushed{}, err
	}
	d, err := s.PushAll(ctx, dst, []reference.Named{ref}, []Outgoing{{Image: img, Said: said}}, lease, o)
	if err != nil {
		return Pushed{}, err
	}
	_, err = s.images.Tag(ref.Repository().WithDigest(d.Digest), img.ID)
	return Pushed{ID: img.ID, Descriptor: d}, err
}

// Outgoing is an image to be pushed.
type Outgoing struct {
	Image *catalog.Image
	// Platform is what an index says that it is for; nil: what its config says.
	Platform *oci.Platform
	// Said is attested of it.
	Said []attestation.Predicate
}

// PushAll sends images, one for each platform, to the repository dst and gives
// them together all the names, which are of that repository and have tags. The
// images need not be in the store, but their layers must, covered by the lease.
// It returns what the names lead to: a manifest, or an index over several and
// over what is attested of them.
func (s *Store) PushAll(ctx context.Context, dst Target, names []reference.Named, images []Outgoing, lease *catalog.Lease, o PushOptions) (oci.Descriptor, error) {
	p := &push{s: s, dst: dst, names: names, repository: names[0].Repository(), o: o, lease: lease}
	var manifests, attestations []document
	for i := range images {
		m, err := p.image(ctx, &images[i])
		if err != nil {
			return oci.Descriptor{}, err
		}
		manifests = append(manifests, m)
		about, err := p.attested(ctx, &images[i], m)
		if err != nil {
			return oci.Descriptor{}, err
		}
		attestations = append(attestations, about...)
	}
	top, err := p.together(ctx, append(manifests, attestations...))
	if err != nil {
		return oci.Descriptor{}, err
	}
	for _, n := range names {
		if err := dst.PutManifest(ctx, n.Tag(), top.MediaType, top.raw); err != nil {
			return oci.Descriptor{}, err
		}
	}
	return top.Descriptor, nil
}

// Tags returns the names with tags that a repository has here, sorted.
func (s *Store) Tags(repository reference.Named) ([]reference.Named, error) {
	names, err := s.images.Names()
	if err != nil {
		return nil, err
	}
	return tagsOf(names, repository), nil
}

// push is one run of PushAll.
type push struct {
	s          *Store
	dst        Target
	names      []reference.Named
	repository reference.Named
	o          PushOptions
	lease      *catalog.Lease
}

// image brings everything that an image's manifest leads to to the registry, and
// returns the manifest.
func (p *push) image(ctx context.Context, i *Outgoing) (document, error) {
	layers, err := p.layers(ctx, i.Image)
	if err != nil {
		return document{}, err
	}
	config := oci.Descriptor{MediaType: oci.MediaTypeConfig, Digest: i.Image.ID, Size: int64(len(i.Image.Raw))}
	if err := p.small(ctx, config, i.Image.Raw); err != nil {
		return document{}, err
	}
	m, err := p.manifest(i.Image, config, layers)
	if m.Platform = i.Platform; m.Platform == nil {
		m.Platform = platformOf(&i.Image.Config)
	}
	return m, err
}

// together returns the only document, or an index over several, which are in the
// registry then.
func (p *push) together(ctx context.Context, all []document) (document, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	x := oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Annotations: p.o.Index}
	for _, d := range all {
		if err := p.dst.PutManifest(ctx, string(d.Digest), d.MediaType, d.raw); err != nil {
			return document{}, err
		}
		x.Manifests = append(x.Manifests, d.Descriptor)
	}
	raw, err := json.Marshal(x)
	return newDocument(x.MediaType, raw), err
}

// layers brings all layers to the registry, several at a time, and returns their
// descriptors. A layer that is in the image twice is sent once.
func (p *push) layers(ctx context.Context, img *catalog.Image) ([]oci.Descriptor, error) {
	diffIDs := img.Config.RootFS.DiffIDs
	chain := img.Chain()
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
	return p.dst.Upload(ctx, d, bytes.NewReader(doc), func(int64) {})
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
func (p *push) manifest(img *catalog.Image, config oci.Descriptor, layers []oci.Descriptor) (document, error) {
	if came, err := p.s.images.Manifest(img.ID); err == nil && came != nil && len(p.o.Manifest) == 0 {
		doc, err := oci.ParseDocument(came, "")
		if m := doc.Manifest; err == nil && m != nil && m.Config.Digest == config.Digest && slices.EqualFunc(m.Layers, layers, sameBlob) {
			return newDocument(doc.MediaType, came), nil
		}
	}
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaTypeManifest, Config: config, Layers: []oci.Descriptor{}, Annotations: p.o.Manifest}
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

// attested brings what is said about an image to the registry and returns the
// manifest of that; nothing if nothing is said.
func (p *push) attested(ctx context.Context, i *Outgoing, m document) ([]document, error) {
	if len(i.Said) == 0 {
		return nil, nil
	}
	platform := oci.HostPlatform()
	if m.Platform != nil {
		platform = *m.Platform
	}
	subjects := attestation.ImageSubjects(p.names, platform, m.Digest)
	statements := make([]attestation.Statement, len(i.Said))
	for n, s := range i.Said {
		statements[n] = s.About(subjects)
	}
	about, err := attestation.NewManifest(m.Descriptor, statements)
	if err != nil {
		return nil, err
	}
	for _, digest := range slices.Sorted(maps.Keys(about.Blobs)) {
		if digest == about.Descriptor.Digest {
			continue
		}
		doc := about.Blobs[digest]
		if err := p.small(ctx, oci.Descriptor{Digest: digest, Size: int64(len(doc))}, doc); err != nil {
			return nil, err
		}
	}
	return []document{{about.Descriptor, about.Blobs[about.Descriptor.Digest]}}, nil
}
