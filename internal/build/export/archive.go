package export

import (
	"context"
	"io"

	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/layout"
	"berth/internal/image/packing"
	"berth/internal/oci"
	"berth/internal/reference"
)

// ArchiveOptions say how an image is written out.
type ArchiveOptions struct {
	DataRoot    string
	Names       []reference.Named
	Compression packing.Compression
	Level       int // 0: the compression's default
	// Docker writes Docker's media types and the manifest.json that docker load
	// reads, in front of everything else; without it the archive is an OCI layout alone.
	Docker  bool
	Rewrite bool // see ImageOptions
	// Annotations of what is written: of each manifest, of the index over
	// several platforms, and of the descriptors that point to these.
	Manifest, Index, ManifestDescriptor, IndexDescriptor map[string]string
	Inline                                               bool   // see ImageOptions
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
	return l.Written, l.WriteTar(ctx, w)
}

func (o *ArchiveOptions) name() string {
	if o.Docker {
		return "exporting to docker image format"
	}
	return "exporting to oci image format"
}

// result is an OCI layout that is about to be written.
type result struct {
	*layout.Layout
	Written
	packed []*packing.Blob
}

func (l *result) close() { closeAll(l.packed) }

// build packs the layers and makes the documents.
func build(ctx context.Context, v *vertex, results []*solve.Result, o *ArchiveOptions) (_ *result, err error) {
	switch {
	case len(results) == 0:
		return nil, errdefs.New(errdefs.Internal, "no result to export")
	case o.Docker && o.Compression == packing.Zstd:
		return nil, errdefs.New(errdefs.InvalidArgument, "Docker's image format has no zstd").WithHint("use compression=gzip, or type=oci")
	case o.Docker && len(results) > 1:
		return nil, errdefs.New(errdefs.InvalidArgument, "Docker's image format holds one platform").WithHint("use type=oci")
	}
	l := &result{Layout: layout.New()}
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
		if l.Descriptor, err = l.Document(x.MediaType, x); err != nil {
			return nil, err
		}
		l.Descriptor.Annotations = o.IndexDescriptor
	}
	l.Name(l.Descriptor, o.Names...)
	return l, nil
}

// add adds the image of one platform.
func (l *result) add(ctx context.Context, v *vertex, s *stores, r *solve.Result, o *ArchiveOptions) (oci.Descriptor, error) {
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
	// The diff ids are those of the tars that were written now.
	c := r.Config
	c.RootFS = oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}
	var layers []oci.Digest
	for _, b := range packed {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, b.DiffID)
		m.Layers = append(m.Layers, b.Descriptor)
		l.Blobs[b.Digest] = layout.File{File: b.File, Length: b.Size}
		layers = append(layers, b.Digest)
	}
	if m.Config, err = l.Document(configType, configOf(r, c, o.Inline)); err != nil {
		return oci.Descriptor{}, err
	}
	v.part("exporting config " + m.Config.Digest.String())()
	d, err := l.Document(m.MediaType, m)
	if err != nil {
		return d, err
	}
	v.part("exporting manifest " + d.Digest.String())()
	l.Configs = append(l.Configs, m.Config.Digest)
	d.Annotations = o.ManifestDescriptor
	p := r.Plan.Platform
	d.Platform = &p
	if o.Docker {
		l.AddDocker(m.Config.Digest, layers, o.Names)
	}
	return d, nil
}
