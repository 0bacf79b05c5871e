// Package layout writes images as OCI layouts.
//
// An OCI layout is a directory, or a tar of one, in which every part of an image
// is a file named by its digest, and index.json lists the images (OCI image
// specification, "image layout"). The tar may also hold manifest.json, by which
// Docker before version 25 and everything that reads its archives finds the same
// files: for each image its config, its names and its layers.
//
//	manifest.json             Docker's list
//	blobs/sha256/<digest>     configs, manifests, layers
//	index.json                OCI's list
//	oci-layout                says that this is a layout
package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"

	"berth/internal/oci"
	"berth/internal/reference"
)

// Content is the bytes of a blob.
type Content interface {
	// Size returns how many there are.
	Size() int64
	// Write writes them; what it writes before an error is nothing.
	Write(ctx context.Context, w io.Writer) error
}

// Bytes is content in memory.
type Bytes []byte

// Size returns the number of bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Write writes them.
func (b Bytes) Write(_ context.Context, w io.Writer) error {
	_, err := io.Copy(w, bytes.NewReader(b))
	return err
}

// File is content in a file, from its start.
type File struct {
	File   *os.File
	Length int64
}

// Size returns the length.
func (f File) Size() int64 { return f.Length }

// Write copies the file, wherever its offset is.
func (f File) Write(_ context.Context, w io.Writer) error {
	_, err := io.Copy(w, io.NewSectionReader(f.File, 0, f.Length))
	return err
}

// Layout is a layout that is about to be written.
type Layout struct {
	Blobs  map[oci.Digest]Content
	Index  oci.Index // index.json
	Docker []DockerImage
}

// DockerImage is an image in manifest.json: paths of files, and names.
type DockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// New returns an empty layout.
func New() *Layout {
	return &Layout{
		Blobs: map[oci.Digest]Content{},
		Index: oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []oci.Descriptor{}},
	}
}

// Document adds v as a JSON document and returns its descriptor.
func (l *Layout) Document(mediaType string, v any) (oci.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return l.Raw(mediaType, b), nil
}

// Raw adds a document as it is and returns its descriptor.
func (l *Layout) Raw(mediaType string, b []byte) oci.Descriptor {
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(b), Size: int64(len(b))}
	l.Blobs[d.Digest] = Bytes(b)
	return d
}

// Name enters an image into index.json, once for each name. The annotations are
// those that buildx writes: containerd reads the first, others the second.
func (l *Layout) Name(d oci.Descriptor, names ...reference.Named) {
	if len(names) == 0 {
		l.Index.Manifests = append(l.Index.Manifests, d)
	}
	for _, n := range names {
		named := d
		named.Annotations = maps.Clone(d.Annotations)
		if named.Annotations == nil {
			named.Annotations = map[string]string{}
		}
		named.Annotations["io.containerd.image.name"] = n.String()
		named.Annotations["org.opencontainers.image.ref.name"] = n.Tag()
		l.Index.Manifests = append(l.Index.Manifests, named)
	}
}

// AddDocker enters an image into manifest.json.
func (l *Layout) AddDocker(config oci.Digest, layers []oci.Digest, names []reference.Named) {
	img := DockerImage{Config: blobPath(config), Layers: []string{}}
	for _, d := range layers {
		img.Layers = append(img.Layers, blobPath(d))
	}
	for _, n := range names {
		img.RepoTags = append(img.RepoTags, n.Familiar())
	}
	l.Docker = append(l.Docker, img)
}

func blobPath(d oci.Digest) string { return "blobs/sha256/" + d.Hex() }

// layoutFile is the content of the file oci-layout.
const layoutFile = `{"imageLayoutVersion":"1.0.0"}`
