package transfer

import (
	"context"
	"errors"
	"runtime"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/reference"
)

// PullOptions say how an image is pulled.
type PullOptions struct {
	// Platform is what to take from an index; nil: this host's.
	Platform *oci.Platform
	// Unnamed leaves the name where it leads: the image is for another platform
	// than its users', and has the name of its own manifest's digest only.
	Unnamed bool
	Report  Report
}

// Pulled is what came of a pull.
type Pulled struct {
	ID     oci.Digest // the image
	Digest oci.Digest // what the name led to: a manifest or an index
	Newer  bool       // the name did not lead to this image before
}

// Pull fetches the image that ref names in src and gives it that name.
func (s *Store) Pull(ctx context.Context, src Source, ref reference.Named, o PullOptions) (Pulled, error) {
	lease, err := s.images.Lease()
	if err != nil {
		return Pulled{}, err
	}
	defer lease.Close() //nolint:errcheck // it ends with the process at the latest
	if err := s.sweep(); err != nil {
		return Pulled{}, err
	}
	p := &pull{s: s, src: src, ref: ref, o: o, lease: lease}
	return p.run(ctx)
}

// pull is one run of Pull.
type pull struct {
	s     *Store
	src   Source
	ref   reference.Named
	o     PullOptions
	lease *catalog.Lease
	// chosen is the manifest that was fetched, "" if none had to be.
	chosen oci.Digest
}

// version returns the part of the name that the registry is asked for.
func (p *pull) version() string {
	if d := p.ref.Digest(); d != "" {
		return string(d)
	}
	return p.ref.Tag()
}

func (p *pull) run(ctx context.Context) (Pulled, error) {
	top, err := p.src.Resolve(ctx, p.version())
	if err != nil {
		return Pulled{}, err
	}
	top.Size = -1 // from a header that some servers get wrong; the digest says it all
	p.o.Report.send(Event{ID: p.version(), Status: PullingFrom, Detail: p.ref.Path()})
	img, err := p.known(top)
	if err != nil {
		return Pulled{}, err
	}
	before, _ := p.s.images.Lookup(p.ref.Familiar()) //nolint:errcheck // no such image is an answer, and others come again below
	fetched := false
	if img == nil {
		img, fetched, err = p.alone(ctx, top)
	} else {
		err = p.name(top, img)
	}
	if err != nil {
		return Pulled{}, err
	}
	p.o.Report.send(Event{Status: DigestIs, Detail: string(top.Digest)})
	return Pulled{ID: img.ID, Digest: top.Digest, Newer: fetched || before != img.ID}, nil
}

// alone fetches the image and names it while nobody else does the same. Of many
// that pull one image at the same time the first fetches it, and the others
// find it here when their turn comes; if the first fails, the next goes on.
func (p *pull) alone(ctx context.Context, top oci.Descriptor) (img *catalog.Image, fetched bool, err error) {
	key := oci.DigestOf([]byte("image " + p.ref.Repository().WithDigest(top.Digest).String() + " " + p.platform().String()))
	lock, err := p.s.lock(ctx, key, func() {
		p.o.Report.send(Event{ID: p.version(), Status: WaitingFor, Detail: "image"})
	})
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	if img, err = p.known(top); err == nil && img == nil {
		img, fetched, err = p.fetch(ctx, top)
	}
	if err != nil {
		return nil, false, err
	}
	return img, fetched, p.name(top, img)
}

// name gives an image the names that lead to it: what the user said, and the
// digest of what that led to.
func (p *pull) name(top oci.Descriptor, img *catalog.Image) error {
	names := []reference.Named{p.ref.Repository().WithDigest(top.Digest), p.ref}
	if p.o.Unnamed {
		names = nil
		if p.chosen != "" {
			names = []reference.Named{p.ref.Repository().WithDigest(p.chosen)}
		}
	}
	for _, name := range names {
		if _, err := p.s.images.Tag(name, img.ID); err != nil {
			return err
		}
	}
	return nil
}

// known returns the image if an earlier pull got the same document, else nil.
// The index it came from may hold other platforms too.
func (p *pull) known(top oci.Descriptor) (*catalog.Image, error) {
	id, err := p.s.images.Lookup(p.ref.Repository().WithDigest(top.Digest).Familiar())
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	img, err := p.lease.UseImage(id)
	if err != nil {
		return nil, nil //nolint:nilerr // damaged or just removed: fetch it
	}
	if p.checkPlatform(&img.Config) != nil {
		return nil, nil
	}
	return img, nil
}

func ignoreNotFound(err error) error {
	if errdefs.KindOf(err) == errdefs.NotFound {
		return nil
	}
	return err
}

// fetch gets the image that a descriptor leads to. fetched tells whether any
// layer had to be brought.
func (p *pull) fetch(ctx context.Context, top oci.Descriptor) (img *catalog.Image, fetched bool, err error) {
	m, doc, err := p.manifest(ctx, top)
	if err != nil {
		return nil, false, err
	}
	raw, err := p.config(ctx, m.Config)
	if err != nil {
		return nil, false, err
	}
	config, err := oci.ParseConfig(raw)
	if err != nil {
		return nil, false, errdefs.Wrap(err, "pull", p.ref.Familiar())
	}
	if err := p.checkPlatform(config); err != nil {
		return nil, false, err
	}
	if len(config.RootFS.DiffIDs) != len(m.Layers) {
		return nil, false, errdefs.New(errdefs.InvalidArgument, "cannot pull %s: its manifest has %d layers, its config %d", p.ref.Familiar(), len(m.Layers), len(config.RootFS.DiffIDs))
	}
	layers := stack(config.RootFS.DiffIDs)
	for i, d := range m.Layers {
		if err := checkLayerType(d); err != nil {
			return nil, false, errdefs.Wrap(err, "pull", p.ref.Familiar())
		}
		id := d.Digest.Hex()[:12]
		layers[i].id = id
		layers[i].open = func(ctx context.Context) (packed, error) { return p.s.startDownload(ctx, p.src, d, id, p.o.Report) }
	}
	in := &installer{s: p.s, lease: p.lease, report: p.o.Report, before: Pulling, after: Complete, existing: AlreadyExists}
	if fetched, err = in.install(ctx, layers); err != nil {
		return nil, false, errdefs.Wrap(err, "pull", p.ref.Familiar())
	}
	if img, err = p.lease.Put(ctx, raw, ""); err != nil {
		return nil, false, err
	}
	return img, fetched, p.remember(img, m, doc)
}

// remember notes where the image's parts are in registries: a push need not
// send what is there.
func (p *pull) remember(img *catalog.Image, m *oci.Manifest, doc []byte) error {
	for i, chain := range img.Chain() {
		d := m.Layers[i]
		b := catalog.Blob{Digest: d.Digest, Size: d.Size, MediaType: d.MediaType, Repository: p.ref.Name()}
		if err := p.lease.AddBlob(chain, b); err != nil {
			return err
		}
	}
	return p.lease.KeepManifest(img.ID, doc)
}

// maxNesting is how many indexes may lie one in another.
const maxNesting = 3

// manifest follows indexes to the manifest of the wanted platform.
func (p *pull) manifest(ctx context.Context, d oci.Descriptor) (*oci.Manifest, []byte, error) {
	for range maxNesting {
		got, raw, err := p.src.Manifest(ctx, string(d.Digest))
		if err != nil {
			return nil, nil, err
		}
		if got.Digest != d.Digest || d.Size >= 0 && got.Size != d.Size {
			return nil, nil, errdefs.New(errdefs.InvalidArgument, "manifest verification failed: asked for %s of %d bytes, got %s of %d", d.Digest, d.Size, got.Digest, got.Size)
		}
		doc, err := oci.ParseDocument(raw, got.MediaType)
		if err != nil {
			return nil, nil, errdefs.Wrap(err, "pull", p.ref.Familiar())
		}
		if doc.Manifest != nil {
			p.chosen = got.Digest
			return doc.Manifest, raw, nil
		}
		next, ok := p.platform().Select(doc.Index.Manifests)
		if !ok {
			return nil, nil, noMatch(p.platform(), doc.Index)
		}
		d = next
	}
	return nil, nil, errdefs.New(errdefs.InvalidArgument, "cannot pull %s: its indexes are nested deeper than %d", p.ref.Familiar(), maxNesting)
}

func noMatch(want oci.Platform, x *oci.Index) error {
	var has []string
	for _, d := range x.Manifests {
		if d.Platform != nil && d.Platform.OS != "unknown" && len(has) < 20 {
			has = append(has, d.Platform.String())
		}
	}
	return errdefs.New(errdefs.NotFound, "no matching manifest for %s in the manifest list entries", want).
		WithHint("the image is there for %s; choose one with --platform", strings.Join(has, ", "))
}

func (p *pull) platform() oci.Platform {
	if p.o.Platform != nil {
		return *p.o.Platform
	}
	return oci.HostPlatform()
}

// checkPlatform compares a config with a platform that the user asked for. One
// that nobody asked for may be run all the same, by an emulator.
func (p *pull) checkPlatform(c *oci.ImageConfig) error {
	have := oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}.Normalize()
	if have.OS != "" && have.OS != runtime.GOOS {
		return errdefs.New(errdefs.Unsupported, "image operating system %q cannot be used on this platform", have.OS)
	}
	return checkPlatform(p.ref.Familiar(), c, p.o.Platform)
}

// config fetches the image's config.
func (p *pull) config(ctx context.Context, d oci.Descriptor) ([]byte, error) {
	switch d.MediaType {
	case oci.MediaTypeConfig, oci.MediaTypeDockerConfig, "", "application/octet-stream": // the last: old build tools
	default:
		return nil, errdefs.New(errdefs.Unsupported, "cannot pull %s: it is not an image but %.200q", p.ref.Familiar(), d.MediaType)
	}
	raw, err := fetchSmall(ctx, p.src, d)
	if err != nil {
		return nil, errdefs.Wrap(err, "pull", p.ref.Familiar())
	}
	return raw, nil
}

// checkLayerType refuses what is certainly no layer. How a layer is packed its bytes tell.
func checkLayerType(d oci.Descriptor) error {
	t := d.MediaType
	ok := strings.HasPrefix(t, "application/vnd.oci.image.layer.") || strings.HasPrefix(t, "application/vnd.docker.image.rootfs.")
	if !ok || strings.HasSuffix(t, "+encrypted") {
		return errdefs.New(errdefs.Unsupported, "%s is a layer of type %.200q, which is not supported", d.Digest, t)
	}
	return nil
}
