// Package imagetest makes small images in memory for tests.
//
// An image in transit is a handful of documents and tars that name each other
// by digest. Describe one as an Image, Build it, and write it in any of the
// forms in which images travel: a docker-archive (what `docker save` wrote for
// years), an OCI layout (a directory of blobs) or that as a tar. The bytes are
// the same every time.
package imagetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"berth/internal/oci"
)

// File is one entry of a layer. The zero Type is a regular file with Body.
type File struct {
	Name     string
	Body     string
	Type     byte  // tar.TypeDir, tar.TypeSymlink, ...
	Mode     int64 // 0: 0644
	Link     string
	UID, GID int
	Pax      map[string]string // extra records, as "SCHILY.xattr.user.a"
}

// Dir returns a directory entry.
func Dir(name string) File { return File{Name: name, Type: tar.TypeDir, Mode: 0o755} }

// Symlink returns a symbolic link.
func Symlink(name, target string) File {
	return File{Name: name, Type: tar.TypeSymlink, Link: target, Mode: 0o777}
}

// Layer is what one step changed. Whiteouts are files named ".wh.X".
type Layer []File

// Epoch is the time of every file and image made here.
func Epoch() time.Time { return time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC) }

// Tar returns the layer as an uncompressed tar.
func (l Layer) Tar() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range l {
		h := &tar.Header{
			Name: f.Name, Typeflag: f.Type, Mode: f.Mode, Linkname: f.Link, Uid: f.UID, Gid: f.GID,
			Size: int64(len(f.Body)), ModTime: Epoch(), PAXRecords: f.Pax,
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		must(w.WriteHeader(h))
		_, err := w.Write([]byte(f.Body))
		must(err)
	}
	must(w.Close())
	return b.Bytes()
}

// must panics: what is written here goes to memory, and only a wrong test can fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Compression is how layers are packed.
type Compression int

// The compressions of layers.
const (
	Gzip Compression = iota
	Zstd
	Plain
)

// Compress packs b.
func (c Compression) Compress(b []byte) []byte {
	var out bytes.Buffer
	switch c {
	case Gzip:
		w := gzip.NewWriter(&out)
		_, err := w.Write(b)
		must(err)
		must(w.Close())
	case Zstd:
		w, err := zstd.NewWriter(&out)
		must(err)
		_, err = w.Write(b)
		must(err)
		must(w.Close())
	default:
		return b
	}
	return out.Bytes()
}

func (c Compression) mediaType(docker bool) string {
	switch {
	case docker && c == Gzip:
		return oci.MediaTypeDockerLayer
	case c == Gzip:
		return oci.MediaTypeLayerGzip
	case c == Zstd:
		return oci.MediaTypeLayerZstd
	}
	return oci.MediaTypeLayer
}

// Image describes an image.
type Image struct {
	Names       []string // "team/app:1"
	Layers      []Layer
	Config      oci.RunConfig
	Platform    oci.Platform // zero: the host's
	Compression Compression
	Docker      bool // Docker's media types instead of OCI's
}

// Built is an image as bytes.
type Built struct {
	Image
	ConfigDoc   []byte
	ManifestDoc []byte
	Tars        [][]byte // layers unpacked
	Blobs       [][]byte // layers packed
	DiffIDs     []oci.Digest
	Manifest    oci.Manifest
}

// Build makes the documents.
func (i Image) Build() *Built {
	b := &Built{Image: i}
	if b.Platform.OS == "" {
		b.Platform = oci.HostPlatform()
	}
	created := Epoch()
	config := oci.ImageConfig{
		Created: &created, Architecture: b.Platform.Architecture, Variant: b.Platform.Variant, OS: b.Platform.OS,
		Config: i.Config, RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{}},
	}
	b.Manifest = oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaTypeManifest, Layers: []oci.Descriptor{}}
	configType := oci.MediaTypeConfig
	if i.Docker {
		b.Manifest.MediaType, configType = oci.MediaTypeDockerManifest, oci.MediaTypeDockerConfig
	}
	for n, l := range i.Layers {
		t := l.Tar()
		packed := i.Compression.Compress(t)
		b.Tars, b.Blobs = append(b.Tars, t), append(b.Blobs, packed)
		b.DiffIDs = append(b.DiffIDs, oci.DigestOf(t))
		b.Manifest.Layers = append(b.Manifest.Layers, Descriptor(i.Compression.mediaType(i.Docker), packed))
		config.History = append(config.History, oci.History{Created: &created, CreatedBy: fmt.Sprintf("layer %d", n)})
	}
	config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, b.DiffIDs...)
	b.ConfigDoc = JSON(config)
	b.Manifest.Config = Descriptor(configType, b.ConfigDoc)
	b.ManifestDoc = JSON(b.Manifest)
	return b
}

// ID returns the image's id.
func (b *Built) ID() oci.Digest { return oci.DigestOf(b.ConfigDoc) }

// Descriptor returns the descriptor of the image's manifest, with its platform.
func (b *Built) Descriptor() oci.Descriptor {
	d := Descriptor(b.Manifest.MediaType, b.ManifestDoc)
	d.Platform = &b.Platform
	return d
}

// Content returns all blobs of the image by digest, its manifest included.
func (b *Built) Content() map[oci.Digest][]byte {
	all := map[oci.Digest][]byte{b.ID(): b.ConfigDoc, oci.DigestOf(b.ManifestDoc): b.ManifestDoc}
	for _, blob := range b.Blobs {
		all[oci.DigestOf(blob)] = blob
	}
	return all
}

// Index returns an index over images, in OCI's or Docker's words.
func Index(docker bool, images ...*Built) []byte {
	x := oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex}
	if docker {
		x.MediaType = oci.MediaTypeDockerIndex
	}
	for _, b := range images {
		x.Manifests = append(x.Manifests, b.Descriptor())
	}
	return JSON(x)
}

// Descriptor returns the descriptor of content.
func Descriptor(mediaType string, content []byte) oci.Descriptor {
	return oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(content), Size: int64(len(content))}
}

// JSON returns v as a document.
func JSON(v any) []byte {
	doc, err := json.Marshal(v)
	must(err)
	return doc
}
