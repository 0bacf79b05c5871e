package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/reference"
)

// LoadOptions say what to take from an archive.
type LoadOptions struct {
	// Platform is what to take of images for several; nil: this host's.
	Platform *oci.Platform
	// Unnamed gives no names: Loaded tells which the images would have.
	Unnamed bool
	Report  Report
}

// Loaded is one name, or one image without a name, that a load brought.
type Loaded struct {
	Name reference.Named // the zero value: none
	ID   oci.Digest
	Old  oci.Digest // the image that had the name before, if another
}

// Load reads the images of an archive: what `docker save` and others write, or
// an OCI layout as a tar, plain or packed.
func (s *Store) Load(ctx context.Context, r io.Reader, o LoadOptions) ([]Loaded, error) {
	if err := s.sweep(); err != nil {
		return nil, err
	}
	file, done, err := s.seekable(ctx, r)
	if err != nil {
		return nil, errdefs.Wrap(err, "load", "archive")
	}
	defer done()
	files, err := indexTar(ctx, file)
	if err != nil {
		return nil, errdefs.Wrap(err, "load", "archive")
	}
	return s.load(ctx, files, o)
}

// LoadDir reads the images of an OCI layout in a directory.
func (s *Store) LoadDir(ctx context.Context, dir string, o LoadOptions) ([]Loaded, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return s.load(ctx, dirFiles{root}, o)
}

// files is where the parts of images are read from.
type files interface {
	// open returns a file's content; os.ErrNotExist if there is none of the name.
	open(name string) (content, error)
}

// content is a file of an archive.
type content interface {
	io.ReadCloser
	size() int64
}

// load reads whichever form the files have. Newer archives hold two: the one
// with names that Docker itself prefers comes first.
func (s *Store) load(ctx context.Context, f files, o LoadOptions) ([]Loaded, error) {
	lease, err := s.images.Lease()
	if err != nil {
		return nil, err
	}
	defer lease.Close() //nolint:errcheck // it ends with the process at the latest
	l := &loader{s: s, f: f, o: o, lease: lease}
	for _, form := range []struct {
		marker string
		read   func(context.Context, []byte) error
	}{
		{"manifest.json", l.dockerArchive},
		{"index.json", l.ociLayout},
		{"repositories", l.legacyArchive},
	} {
		doc, err := l.document(form.marker)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = form.read(ctx, doc)
		}
		return l.loaded, errdefs.Wrap(err, "load", "archive")
	}
	return nil, errdefs.New(errdefs.InvalidArgument, "cannot load archive: it holds no images").
		WithHint("load reads what 'docker save' writes and OCI layouts; the tar of a root file system is for 'berth import'")
}

// loader is one run of load.
type loader struct {
	s      *Store
	f      files
	o      LoadOptions
	lease  *catalog.Lease
	loaded []Loaded
}

// document reads a whole small file.
func (l *loader) document(name string) ([]byte, error) {
	c, err := l.f.open(name)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if c.size() > oci.MaxDocument {
		return nil, errdefs.New(errdefs.InvalidArgument, "%.200q is larger than %d MiB", name, oci.MaxDocument>>20)
	}
	return io.ReadAll(io.LimitReader(c, oci.MaxDocument))
}

// image stores an image whose layers are files, and gives it its names.
func (l *loader) image(ctx context.Context, rawConfig []byte, layers []*layer, names []reference.Named) error {
	in := &installer{s: l.s, lease: l.lease, report: l.o.Report}
	if _, err := in.install(ctx, layers); err != nil {
		return err
	}
	img, err := l.lease.Put(ctx, rawConfig, "")
	if err != nil {
		return err
	}
	for _, n := range names {
		var old oci.Digest
		if !l.o.Unnamed {
			if old, err = l.s.images.Tag(n, img.ID); err != nil {
				return err
			}
		}
		l.loaded = append(l.loaded, Loaded{Name: n, ID: img.ID, Old: old})
	}
	if len(names) == 0 {
		l.loaded = append(l.loaded, Loaded{ID: img.ID})
	}
	return nil
}

// parseConfig reads a config and makes its layers, which number the files are.
func parseConfig(raw []byte, number int) (*oci.ImageConfig, []*layer, error) {
	config, err := oci.ParseConfig(raw)
	if err != nil {
		return nil, nil, err
	}
	if have := len(config.RootFS.DiffIDs); have != number {
		return nil, nil, errdefs.New(errdefs.InvalidArgument, "an image has %d layers, its config %d", number, have)
	}
	return config, stack(config.RootFS.DiffIDs), nil
}

// openLayer returns how a layer in a file is read. want, if it has a digest,
// is what the file must be.
func (l *loader) openLayer(name, id string, want oci.Descriptor) func(context.Context) (packed, error) {
	return func(context.Context) (packed, error) {
		c, err := l.f.open(name)
		if err != nil {
			return nil, err
		}
		total := c.size()
		if want.Digest != "" && want.Size != total {
			return nil, errors.Join(errdefs.New(errdefs.InvalidArgument, "%s has %d bytes, its descriptor says %d", name, total, want.Size), c.Close())
		}
		p := &packedFile{c: c, want: want.Digest}
		p.watched = watched{p.summed(c), 0, func(n int64) { l.o.Report.send(Event{ID: id, Status: Loading, Current: n, Total: total}) }}
		return p, nil
	}
}

// encode writes a config that is made here.
func encode(c *oci.ImageConfig) ([]byte, error) {
	raw, err := json.Marshal(c)
	return raw, errdefs.Wrap(err, "write", "image config")
}
