package oci

// Media types say what the bytes behind a descriptor are. OCI's were made from
// Docker's and mean the same; registries hold both.
const (
	MediaTypeIndex    = "application/vnd.oci.image.index.v1+json"
	MediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeConfig   = "application/vnd.oci.image.config.v1+json"
	MediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"

	MediaTypeLayerGzip = MediaTypeLayer + "+gzip"
	MediaTypeLayerZstd = MediaTypeLayer + "+zstd"

	MediaTypeDockerIndex    = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerConfig   = "application/vnd.docker.container.image.v1+json"
	MediaTypeDockerLayer    = "application/vnd.docker.image.rootfs.diff.tar.gzip"

	// Layers that may not be stored in a registry: a descriptor's URLs tell
	// where they are. berth does not follow such URLs.
	mediaTypeForeign       = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	mediaTypeNotStorable   = "application/vnd.oci.image.layer.nondistributable.v1.tar"
	mediaTypeSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	mediaTypeSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

// Descriptor points to content: what it is, its digest and its exact size.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       Digest            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	Data         []byte            `json:"data,omitempty"`
	Platform     *Platform         `json:"platform,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
}

// IsIndex reports whether d points to an index.
func (d Descriptor) IsIndex() bool {
	return d.MediaType == MediaTypeIndex || d.MediaType == MediaTypeDockerIndex
}

// IsManifest reports whether d points to a manifest.
func (d Descriptor) IsManifest() bool {
	return d.MediaType == MediaTypeManifest || d.MediaType == MediaTypeDockerManifest
}

// IsForeign reports whether d is a layer that must be had from somewhere else than the registry.
func (d Descriptor) IsForeign() bool {
	return d.MediaType == mediaTypeForeign || len(d.MediaType) >= len(mediaTypeNotStorable) && d.MediaType[:len(mediaTypeNotStorable)] == mediaTypeNotStorable
}

// Manifest is one image for one platform: its config and its layers, base first.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"` // 2
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Index is one name for several manifests, usually one for each platform. An
// OCI layout's index.json is one too.
type Index struct {
	SchemaVersion int               `json:"schemaVersion"` // 2
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}
