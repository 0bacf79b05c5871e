package transfer

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// ociLayout loads the images of an OCI layout: index.json lists manifests, and
// every blob is a file named by its digest (image specification, "image layout").
func (l *loader) ociLayout(ctx context.Context, doc []byte) error {
	if err := l.checkLayout(); err != nil {
		return err
	}
	x, err := oci.ParseIndex(doc, "")
	if err != nil {
		return err
	}
	choices, err := l.choose(x.Manifests)
	if err != nil {
		return err
	}
	for _, c := range choices {
		if err := l.ociImage(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) checkLayout() error {
	doc, err := l.document("oci-layout")
	if errors.Is(err, os.ErrNotExist) {
		return nil // some writers forget it
	}
	if err != nil {
		return err
	}
	var v struct{ ImageLayoutVersion string }
	if err := oci.Decode("oci-layout", doc, 1, &v); err != nil {
		return err
	}
	if !strings.HasPrefix(v.ImageLayoutVersion, "1.") {
		return errdefs.New(errdefs.Unsupported, "OCI layout of version %.50q", v.ImageLayoutVersion)
	}
	return nil
}

// choice is an image to load and its names.
type choice struct {
	d     oci.Descriptor
	names []reference.Named
}

// choose finds out what a layout's index offers. One name may stand at the
// manifests of several platforms, one manifest may have several names, and
// manifests without a name are images of their own, or the platforms of one.
func (l *loader) choose(manifests []oci.Descriptor) ([]choice, error) {
	var order []string
	groups := map[string][]oci.Descriptor{}
	for _, d := range manifests {
		n, err := layoutName(d)
		if err != nil {
			return nil, err
		}
		key := n.String()
		if n == (reference.Named{}) && d.Platform == nil {
			key = "@" + string(d.Digest) // an image of its own
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], d)
	}
	var choices []choice
	for _, key := range order {
		d, ok := l.platform().Select(groups[key])
		if !ok {
			return nil, noMatch(l.platform(), &oci.Index{Manifests: groups[key]})
		}
		i := slices.IndexFunc(choices, func(c choice) bool { return c.d.Digest == d.Digest })
		if i < 0 {
			i, choices = len(choices), append(choices, choice{d: d})
		}
		if n, _ := layoutName(d); n != (reference.Named{}) { //nolint:errcheck // it was read above
			choices[i].names = append(choices[i].names, n)
		}
	}
	return choices, nil
}

func (l *loader) platform() oci.Platform {
	if l.o.Platform != nil {
		return *l.o.Platform
	}
	return oci.HostPlatform()
}

// layoutName returns the name that a manifest of a layout has, the zero value if
// none. Writers disagree: containerd's annotation holds a full name; the
// specification's holds a tag by its own words, and by others' use a name.
func layoutName(d oci.Descriptor) (reference.Named, error) {
	if full := d.Annotations["io.containerd.image.name"]; full != "" {
		return reference.Parse(full)
	}
	name := d.Annotations["org.opencontainers.image.ref.name"]
	if !strings.ContainsAny(name, ":/") {
		return reference.Named{}, nil
	}
	return reference.Parse(name)
}

// ociImage loads one image.
func (l *loader) ociImage(ctx context.Context, c choice) error {
	m, err := l.ociManifest(c.d)
	if err != nil {
		return err
	}
	raw, err := l.blob(m.Config)
	if err != nil {
		return err
	}
	_, layers, err := parseConfig(raw, len(m.Layers))
	if err != nil {
		return err
	}
	for i, d := range m.Layers {
		if err := checkLayerType(d); err != nil {
			return err
		}
		layers[i].open = l.openLayer(blobName(d.Digest), layers[i].id, d)
	}
	return l.image(ctx, raw, layers, c.names)
}

// ociManifest follows indexes to a manifest.
func (l *loader) ociManifest(d oci.Descriptor) (*oci.Manifest, error) {
	for range maxNesting {
		raw, err := l.blob(d)
		if err != nil {
			return nil, err
		}
		doc, err := oci.ParseDocument(raw, d.MediaType)
		if err != nil {
			return nil, err
		}
		if doc.Manifest != nil {
			return doc.Manifest, nil
		}
		next, ok := l.platform().Select(doc.Index.Manifests)
		if !ok {
			return nil, noMatch(l.platform(), doc.Index)
		}
		d = next
	}
	return nil, errdefs.New(errdefs.InvalidArgument, "indexes are nested deeper than %d", maxNesting)
}

// blob reads a document by its descriptor.
func (l *loader) blob(d oci.Descriptor) ([]byte, error) {
	c, err := l.f.open(blobName(d.Digest))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if d.Size > oci.MaxDocument {
		return nil, errdefs.New(errdefs.InvalidArgument, "%s claims to be a document of %d bytes", d.Digest, d.Size)
	}
	return readVerified(c, d)
}

// blobName is the path of a blob; the digest was checked when it was parsed.
func blobName(d oci.Digest) string { return "blobs/sha256/" + d.Hex() }
