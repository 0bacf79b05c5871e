package dockercompat

import (
	"berth/internal/engine"
	"berth/internal/oci"
)

// Image is the answer to inspect of an image.
type Image struct {
	ID            string `json:"Id"`
	RepoTags      []string
	RepoDigests   []string
	Parent        string
	Comment       string
	Created       string
	DockerVersion string
	Author        string
	Config        *ImageConfig
	Architecture  string
	Variant       string `json:",omitempty"`
	Os            string
	Size          int64
	VirtualSize   int64
	GraphDriver   GraphDriver
	RootFS        RootFS
	Metadata      Metadata
}

// ImageConfig is how a container of the image is run, in the classic shape,
// which is a container's configuration.
type ImageConfig struct {
	Hostname     string
	Domainname   string
	User         string
	AttachStdin  bool
	AttachStdout bool
	AttachStderr bool
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Tty          bool
	OpenStdin    bool
	StdinOnce    bool
	Env          []string
	Cmd          []string
	Healthcheck  *oci.Healthcheck `json:",omitempty"`
	ArgsEscaped  bool             `json:",omitempty"`
	Image        string
	Volumes      map[string]struct{}
	WorkingDir   string
	Entrypoint   []string
	OnBuild      []string
	Labels       map[string]string
	StopSignal   string   `json:",omitempty"`
	Shell        []string `json:",omitempty"`
}

// RootFS lists the layers of an image by diff id, base first.
type RootFS struct {
	Type   string       `json:",omitempty"`
	Layers []oci.Digest `json:",omitempty"`
}

// Metadata is what this store knows of an image and the image itself does not.
type Metadata struct {
	LastTagTime string
}

// NewImage returns the shape of an image.
func NewImage(in *engine.ImageInspection) *Image {
	c, r := &in.Config, &in.Config.Config
	return &Image{
		ID: in.ID, RepoTags: list(in.RepoTags), RepoDigests: list(in.RepoDigests), Parent: in.ParentID, Comment: c.Comment,
		Created: timestamp(in.Created), DockerVersion: c.DockerVersion, Author: c.Author,
		Config: &ImageConfig{
			User: r.User, ExposedPorts: r.ExposedPorts, Env: list(r.Env), Cmd: r.Cmd, Healthcheck: r.Healthcheck, ArgsEscaped: r.ArgsEscaped,
			Volumes: r.Volumes, WorkingDir: r.WorkingDir, Entrypoint: r.Entrypoint, OnBuild: r.OnBuild, Labels: r.Labels,
			StopSignal: r.StopSignal, Shell: r.Shell,
		},
		Architecture: c.Architecture, Variant: c.Variant, Os: c.OS, Size: in.Size, VirtualSize: in.Size,
		GraphDriver: GraphDriver{in.GraphDriver, overlay2}, RootFS: RootFS{c.RootFS.Type, c.RootFS.DiffIDs},
		Metadata: Metadata{timestamp(in.LastTagTime)},
	}
}
