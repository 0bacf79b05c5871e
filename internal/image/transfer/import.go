package transfer

import (
	"context"
	"errors"
	"io"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/change"
	"berth/internal/oci"
	"berth/internal/reference"
	"berth/internal/storage/snapshot"
)

// ImportOptions say what to make of a root file system.
type ImportOptions struct {
	Name     reference.Named // the zero value: no name
	Changes  []string        // Dockerfile instructions for the config
	Message  string          // "" : "Imported from -"
	Platform *oci.Platform   // nil: this host's
	Size     int64           // of the stream, for the progress; 0: unknown
	Report   Report
}

// Import makes an image of one layer from the tar of a root file system, packed
// in any of the usual ways, and returns its id.
func (s *Store) Import(ctx context.Context, src io.Reader, o ImportOptions) (oci.Digest, error) {
	config, err := s.importConfig(o)
	if err != nil {
		return "", err
	}
	lease, err := s.images.Lease()
	if err != nil {
		return "", err
	}
	defer lease.Close() //nolint:errcheck // it ends with the process at the latest
	draft, err := s.layers.Begin("")
	if err != nil {
		return "", err
	}
	layer, err := s.importLayer(ctx, lease, draft, src, o)
	if err != nil {
		return "", errors.Join(err, draft.Discard())
	}
	config.RootFS.DiffIDs = []oci.Digest{layer.DiffID}
	raw, err := encode(config)
	if err != nil {
		return "", err
	}
	img, err := lease.Put(ctx, raw, "")
	if err != nil {
		return "", err
	}
	if o.Name != (reference.Named{}) {
		if _, err := s.images.Tag(o.Name, img.ID); err != nil {
			return "", err
		}
	}
	return img.ID, nil
}

// importConfig makes the config but for the layer, so that a wrong change is
// told before anything is unpacked.
func (s *Store) importConfig(o ImportOptions) (*oci.ImageConfig, error) {
	if o.Name.Digest() != "" {
		return nil, errdefs.New(errdefs.InvalidArgument, "cannot import digest reference")
	}
	p := oci.HostPlatform()
	if o.Platform != nil {
		p = o.Platform.Normalize()
	}
	if o.Message == "" {
		o.Message = "Imported from -"
	}
	now := s.now().UTC()
	c := &oci.ImageConfig{
		Created: &now, Architecture: p.Architecture, Variant: p.Variant, OS: p.OS, Comment: o.Message,
		RootFS: oci.RootFS{Type: "layers"}, History: []oci.History{{Created: &now, Comment: o.Message}},
	}
	return c, change.Apply(&c.Config, o.Changes)
}

func (s *Store) importLayer(ctx context.Context, lease *catalog.Lease, draft *snapshot.Draft, src io.Reader, o ImportOptions) (catalog.Layer, error) {
	u, err := unpackArchive(&watched{src, 0, func(n int64) { o.Report.send(Event{Status: Importing, Current: n, Total: o.Size}) }})
	if err != nil {
		return catalog.Layer{}, errdefs.Wrap(err, "import", "archive")
	}
	res, record, err := s.apply(ctx, draft.Dir(), u)
	if err != nil {
		// Stdin cannot be told to end: the reader is left to the process's end.
		return catalog.Layer{}, errdefs.Wrap(err, "import", "archive")
	}
	defer record.Close()
	if err := u.Close(); err != nil {
		return catalog.Layer{}, errdefs.Wrap(err, "import", "archive")
	}
	if res.Entries == 0 {
		return catalog.Layer{}, errdefs.New(errdefs.InvalidArgument, "cannot import archive: it is empty").
			WithHint("import takes the tar of a root file system, plain or packed with gzip, zstd, xz or bzip2")
	}
	return lease.AddLayer(ctx, catalog.NewLayer{Draft: draft, DiffID: res.DiffID, Size: res.Bytes, Extra: keepTar(record)})
}

// watched tells how far a reader got.
type watched struct {
	r  io.Reader
	n  int64
	on func(int64)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.n += int64(n)
	w.on(w.n)
	return n, err
}
