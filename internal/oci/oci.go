// Package oci provides the documents of an image as values: digests,
// descriptors, manifests, indexes and configs of the OCI image specification
// (github.com/opencontainers/image-spec, version 1.1) and of Docker's schema 2,
// which differ only in their media types.
//
// An image is a chain of documents named by the SHA-256 of their bytes: an
// index lists one manifest per platform, a manifest names a config and layers,
// and the config names the layers again by the digest of their unpacked tar
// (the diff ids). The image's id is the digest of its config.
package oci

import "time"

// ImageConfig is an image's config document. Unknown fields are not kept:
// whoever needs the exact document (its digest is the image id) keeps the bytes.
type ImageConfig struct {
	Created      *time.Time `json:"created,omitempty"`
	Author       string     `json:"author,omitempty"`
	Architecture string     `json:"architecture"`
	Variant      string     `json:"variant,omitempty"`
	OS           string     `json:"os"`
	OSVersion    string     `json:"os.version,omitempty"`
	OSFeatures   []string   `json:"os.features,omitempty"`
	Config       RunConfig  `json:"config"`
	RootFS       RootFS     `json:"rootfs"`
	History      []History  `json:"history,omitempty"`
	// Docker's own fields, shown by inspect.
	DockerVersion string `json:"docker_version,omitempty"`
	Comment       string `json:"comment,omitempty"`
	Parent        string `json:"parent,omitempty"`
}

// RunConfig is how a container of the image is run unless the user says otherwise.
type RunConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	ArgsEscaped  bool                `json:"ArgsEscaped,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
}

// Healthcheck is Docker's probe of a container; times are nanoseconds.
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// RootFS names the layers by diff id, base first.
type RootFS struct {
	Type    string   `json:"type"` // "layers"
	DiffIDs []Digest `json:"diff_ids"`
}

// History is one step of how the image was made.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}
