package export

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// ArchiveOptions say how an image is written out.
type ArchiveOptions struct {
	DataRoot    string
	Names       []reference.Named
	Compression Compression
	Level       int // 0: the compression's default
	// Docker writes Docker's media types and the manifest.json that docker load
	// reads, in front of everything else; without it the archive is an OCI layout alone.
	Docker  bool
	Rewrite bool // see ImageOptions
	// Annotations of what is written: of each manifest, of the index over
	// several platforms, and of the descriptors that point to these.
	Manifest, Index, ManifestDescriptor, IndexDescriptor map[string]string
	Attest                                               Attest // needs an index, which Docker's format has not
	Events                                               progress.Sink
}

// Written is what was exported.
type Written struct {
	Descriptor oci.Descriptor // of the manifest, or of the index over several and their attestations
	Configs    []oci.Digest   // one for each platform: the image ids
}

// Archive writes the image of one platform, or an index over those of several,
// as a tar.
func Archive(ctx context.Context, w io.Writer, results []*solve.Result, o ArchiveOptions) (_ Written, err error) {
	v := begin(o.Events, o.name())
	defer func() { v.finish(err) }()
	l, err := build(ctx, v, results, &o)
	if err != nil {
		return Written{}, err
	}
	defer l.close()
	defer v.part("sending tarball")()
	return l.Written, l.writeTar(ctx, w)
}

func (o *ArchiveOptions) name() string {
	if o.Docker {
		return "exporting to docker image format"
	}
	return "exporting to oci image format"
}

// layout is an OCI layout that is about to be written.
type layout struct {
	Written
	blobs    map[oci.Digest]content
	index    oci.Index // index.json
	manifest []byte    // manifest.json; nil: none
	packed   []*blob
}

// content is the bytes of a blob.
type content struct {
	data []byte
	file *os.File
	size int64
}

func (c content) reader() io.Reader {
	if c.file != nil {
		return io.NewSectionReader(c.file, 0, c.size)
	}
	return bytes.NewReader(c.data)
}

func (l *layout) close() { closeAll(l.packed) }

// build packs the layers and makes the documents.
func build(ctx context.Context, v *vertex, results []*solve.Result, o *ArchiveOptions) (_ *layout, err error) {
	switch {
	case len(results) == 0:
		return nil, errdefs.New(errdefs.Internal, "no result to export")
	case o.Docker && o.Compression == Zstd:
		return nil, errdefs.New(errdefs.InvalidArgument, "Docker's image format has no zstd").WithHint("use compression=gzip, or type=oci")
	case o.Docker && len(results) > 1:
		return nil, errdefs.New(errdefs.InvalidArgument, "Docker's image format holds one platform").WithHint("use type=oci")
	}
	l := &layout{blobs: map[oci.Digest]content{}, index: oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []oci.Descriptor{}}}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	s := openStores(o.DataRoot)
	var manifests, attestations []oci.Descriptor
	for _, r := range results {
		d, err := l.add(ctx, v, s, r, o)
		if err != nil {
			return nil, err
		}
		manifests = append(manifests, d)
		about, err := l.attest(ctx, v, r, d, o)
		if err != nil {
			return nil, err
		}
		attestations = append(attestations, about...)
	}
	manifests = append(manifests, attestations...)
	l.Descriptor = manifests[0]
	if len(manifests) > 1 {
		x := oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: manifests, Annotations: o.Index}
		if l.Descriptor, err = l.document(x.MediaType, x); err != nil {
			return nil, err
		}
		l.Descriptor.Annotations = o.IndexDescriptor
	}
	l.name(o.Names)
	return l, nil
}

// add adds the image of one platform.
func (l *layout) add(ctx context.Context, v *vertex, s *stores, r *solve.Result, o *ArchiveOptions) (oci.Descriptor, error) {
	done := v.part("exporting layers")
	stack, err := s.stack(r, o.Rewrite)
	if err != nil {
		return oci.Descriptor{}, err
	}
	packed, err := s.pack(ctx, stack, o)
	l.packed = append(l.packed, packed...)
	if err != nil {
		return oci.Descriptor{}, err
	}
	done()
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaTypeManifest, Layers: []oci.Descriptor{}, Annotations: o.Manifest}
	configType := oci.MediaTypeConfig
	if o.Docker {
		m.MediaType, configType = oci.MediaTypeDockerManifest, oci.MediaTypeDockerConfig
	}
	// The diff ids are those of the tars that were written now: what a registry
	// sent for a base image had the same files, in an order of its own.
	c := r.Config
	c.RootFS = oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}
	var names []string
	for _, b := range packed {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, b.diffID)
		m.Layers = append(m.Layers, b.Descriptor)
		l.blobs[b.Digest] = content{file: b.file, size: b.Size}
		names = append(names, blobPath(b.Digest))
	}
	if m.Config, err = l.document(configType, c); err != nil {
		return oci.Descriptor{}, err
	}
	v.part("exporting config " + m.Config.Digest.String())()
	d, err := l.document(m.MediaType, m)
	if err != nil {
		return d, err
	}
	v.part("exporting manifest " + d.Digest.String())()
	l.Configs = append(l.Configs, m.Config.Digest)
	d.Annotations = o.ManifestDescriptor
	p := r.Plan.Platform
	d.Platform = &p
	if o.Docker {
		l.manifest, err = dockerManifest(m.Config.Digest, names, o.Names)
	}
	return d, err
}

// document adds a document and returns its descriptor.
func (l *layout) document(mediaType string, v any) (oci.Descriptor, error) {
	b, err := json.Marshal(v)
	d := oci.Descriptor{MediaType: mediaType, Digest: oci.DigestOf(b), Size: int64(len(b))}
	l.blobs[d.Digest] = content{data: b, size: d.Size}
	return d, err
}

// name enters the result into index.json, once for each name. The annotations
// are those that buildx writes: containerd reads the first, others the second.
func (l *layout) name(names []reference.Named) {
	if len(names) == 0 {
		l.index.Manifests = []oci.Descriptor{l.Descriptor}
	}
	for _, n := range names {
		d := l.Descriptor
		d.Annotations = maps.Clone(d.Annotations)
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations["io.containerd.image.name"] = n.String()
		d.Annotations["org.opencontainers.image.ref.name"] = n.Tag()
		l.index.Manifests = append(l.index.Manifests, d)
	}
}

func dockerManifest(config oci.Digest, layers []string, names []reference.Named) ([]byte, error) {
	type image struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	img := image{Config: blobPath(config), Layers: layers}
	if layers == nil {
		img.Layers = []string{}
	}
	for _, n := range names {
		img.RepoTags = append(img.RepoTags, n.Familiar())
	}
	return json.Marshal([]image{img})
}

func blobPath(d oci.Digest) string { return "blobs/sha256/" + d.Hex() }

// layoutFile is the content of the file oci-layout.
const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

// writeTar writes the layout as a tar, the same bytes every time.
func (l *layout) writeTar(ctx context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	put := func(name string, mode int64, kind byte, c content) error {
		if ctx.Err() != nil {
			return &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
		}
		h := &tar.Header{Name: name, Mode: mode, Typeflag: kind, Size: c.size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if c.size > 8<<30-1 {
			h.Format = tar.FormatPAX
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.Copy(t, c.reader())
		return err
	}
	file := func(name string, data []byte) error {
		return put(name, 0o644, tar.TypeReg, content{data: data, size: int64(len(data))})
	}
	index, err := json.Marshal(l.index)
	if err != nil {
		return err
	}
	if l.manifest != nil {
		if err := file("manifest.json", l.manifest); err != nil {
			return err
		}
	}
	for _, dir := range [...]string{"blobs/", "blobs/sha256/"} {
		if err := put(dir, 0o755, tar.TypeDir, content{}); err != nil {
			return err
		}
	}
	for _, d := range slices.Sorted(maps.Keys(l.blobs)) {
		if err := put(blobPath(d), 0o644, tar.TypeReg, l.blobs[d]); err != nil {
			return err
		}
	}
	if err := file("index.json", index); err != nil {
		return err
	}
	if err := file("oci-layout", []byte(layoutFile)); err != nil {
		return err
	}
	return t.Close()
}
