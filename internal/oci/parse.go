package oci

import (
	"encoding/json"
	"strings"

	"berth/internal/errdefs"
)

// Document is a parsed manifest or index: exactly one of the two is set.
type Document struct {
	MediaType string
	Manifest  *Manifest
	Index     *Index
}

// ParseDocument reads a document that may be a manifest or an index.
// contentType is what its source calls it ("" if the source does not say): a
// registry's Content-Type or the media type of the descriptor that led here. A
// document that is both, or that calls itself something else than its source
// does, is refused: its digest would pass for two images (CVE-2021-41190).
func ParseDocument(doc []byte, contentType string) (Document, error) {
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.TrimSpace(contentType)
	var shape struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Config        json.RawMessage `json:"config"`
		Layers        json.RawMessage `json:"layers"`
		Manifests     json.RawMessage `json:"manifests"`
		FSLayers      json.RawMessage `json:"fsLayers"`
		Signatures    json.RawMessage `json:"signatures"`
	}
	if err := decode("manifest", doc, foldAll, &shape); err != nil {
		return Document{}, err
	}
	mediaType := shape.MediaType
	if mediaType == "" {
		mediaType = contentType
	}
	isManifest, isIndex := shape.Config != nil || shape.Layers != nil, shape.Manifests != nil
	switch {
	case shape.SchemaVersion == 1 || shape.FSLayers != nil || isSchema1(mediaType) || isSchema1(contentType):
		return Document{}, errdefs.New(errdefs.Unsupported, "manifest schema 1 is not supported: no digest covers the config that it makes up").
			WithHint("have the image pushed again by a tool younger than 2017, or copy it with skopeo copy --format v2s2")
	case shape.SchemaVersion != 2:
		return Document{}, errdefs.New(errdefs.InvalidArgument, "manifest has schema version %d, not 2", shape.SchemaVersion)
	case isManifest && isIndex:
		return Document{}, errdefs.New(errdefs.InvalidArgument, "manifest is ambiguous: it is an index as well")
	case !isManifest && !isIndex:
		return Document{}, errdefs.New(errdefs.InvalidArgument, "manifest has neither layers nor manifests")
	}
	if mediaType == "" {
		mediaType = MediaTypeManifest
		if isIndex {
			mediaType = MediaTypeIndex
		}
	}
	d := Descriptor{MediaType: mediaType}
	switch {
	case shape.MediaType != "" && isKnown(contentType) && shape.MediaType != contentType:
		return Document{}, errdefs.New(errdefs.InvalidArgument, "manifest calls itself %.200q and is served as %.200q", shape.MediaType, contentType)
	case isIndex && !d.IsIndex() && isKnown(mediaType), isManifest && !d.IsManifest() && isKnown(mediaType):
		return Document{}, errdefs.New(errdefs.InvalidArgument, "manifest is ambiguous: its content is not what its type %q says", mediaType)
	case !d.IsIndex() && !d.IsManifest() && isKnown(shape.MediaType), shape.MediaType != "" && !isKnown(shape.MediaType):
		return Document{}, errdefs.New(errdefs.Unsupported, "cannot use a document of type %.200q as an image", mediaType)
	}
	if isIndex {
		return parseIndex(doc, mediaType)
	}
	return parseManifest(doc, mediaType)
}

func isSchema1(t string) bool { return t == mediaTypeSchema1 || t == mediaTypeSchema1Signed }

// isKnown reports whether t is the type of a manifest or an index. Registries
// also serve documents as plain JSON, which says nothing.
func isKnown(t string) bool {
	d := Descriptor{MediaType: t}
	return d.IsIndex() || d.IsManifest()
}

func parseIndex(doc []byte, mediaType string) (Document, error) {
	var x Index
	if err := json.Unmarshal(doc, &x); err != nil {
		return Document{}, errdefs.New(errdefs.InvalidArgument, "index is malformed: %w", err)
	}
	for i := range x.Manifests {
		if err := x.Manifests[i].check(MaxDocument); err != nil {
			return Document{}, err
		}
	}
	return Document{MediaType: mediaType, Index: &x}, nil
}

func parseManifest(doc []byte, mediaType string) (Document, error) {
	var m Manifest
	if err := json.Unmarshal(doc, &m); err != nil {
		return Document{}, errdefs.New(errdefs.InvalidArgument, "manifest is malformed: %w", err)
	}
	if err := m.Config.check(MaxDocument); err != nil {
		return Document{}, err
	}
	for i := range m.Layers {
		if err := m.Layers[i].check(maxBlob); err != nil {
			return Document{}, err
		}
	}
	return Document{MediaType: mediaType, Manifest: &m}, nil
}

// maxBlob bounds the size that a descriptor may claim for a layer: 1 TiB.
const maxBlob = 1 << 40

// check refuses a descriptor whose digest or size cannot be used. After it the
// digest is safe in a file name and the size in an allocation or a limit.
func (d *Descriptor) check(maxSize int64) error {
	if _, err := ParseDigest(string(d.Digest)); err != nil {
		return err
	}
	if d.Size < 0 || d.Size > maxSize {
		return errdefs.New(errdefs.InvalidArgument, "descriptor of %s claims a size of %d bytes", d.Digest, d.Size)
	}
	return nil
}

// ParseManifest reads a document that must be a manifest.
func ParseManifest(doc []byte, contentType string) (*Manifest, error) {
	d, err := ParseDocument(doc, contentType)
	if err == nil && d.Manifest == nil {
		err = errdefs.New(errdefs.InvalidArgument, "found an index where a manifest was expected")
	}
	return d.Manifest, err
}

// ParseIndex reads a document that must be an index.
func ParseIndex(doc []byte, contentType string) (*Index, error) {
	d, err := ParseDocument(doc, contentType)
	if err == nil && d.Index == nil {
		err = errdefs.New(errdefs.InvalidArgument, "found a manifest where an index was expected")
	}
	return d.Index, err
}

// configFold: below the config's "config" are maps with keys of the user's.
const configFold = 2

// ParseConfig reads an image's config.
func ParseConfig(doc []byte) (*ImageConfig, error) {
	var c ImageConfig
	if err := decode("image config", doc, configFold, &c); err != nil {
		return nil, err
	}
	for _, d := range c.RootFS.DiffIDs {
		if _, err := ParseDigest(string(d)); err != nil {
			return nil, err
		}
	}
	if c.RootFS.Type != "" && c.RootFS.Type != "layers" {
		return nil, errdefs.New(errdefs.InvalidArgument, "image config has a root file system of type %.100q, not \"layers\"", c.RootFS.Type)
	}
	return &c, nil
}
