package portable

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
)

// Directory is an OCI layout on disk (OCI image specification, "Image Layout").
type Directory struct{ dir string }

// NewDirectory returns the layout in dir; nothing is done yet.
func NewDirectory(dir string) *Directory { return &Directory{dir} }

// refName is the annotation of index.json that holds a tag.
const refName = "org.opencontainers.image.ref.name"

const (
	blobsDir   = "blobs/sha256"
	indexFile  = "index.json"
	layoutFile = "oci-layout"
	layoutText = `{"imageLayoutVersion":"1.0.0"}`
)

func blobName(d oci.Digest) string { return path.Join(blobsDir, d.Hex()) }

// open opens a file of the layout. Links in it lead nowhere else: a cache may be
// of somebody else's making.
func (l *Directory) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, f.Close(), errdefs.New(errdefs.InvalidArgument, "%s is no file", path.Join(l.dir, name)))
	}
	return f, nil
}

// Open is Blobs's.
func (l *Directory) Open(_ context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	if err := digests(d.Digest); err != nil {
		return nil, err
	}
	return l.open(blobName(d.Digest))
}

// Has is Place's.
func (l *Directory) Has(_ context.Context, d oci.Descriptor) (bool, error) {
	if digests(d.Digest) != nil {
		return false, nil
	}
	f, err := l.open(blobName(d.Digest))
	if err != nil {
		return false, nil //nolint:nilerr // whatever it is, it is not the blob
	}
	defer f.Close()
	info, err := f.Stat()
	return err == nil && info.Size() == d.Size, err
}

// index reads index.json, an empty one if there is none.
func (l *Directory) index() (*oci.Index, error) {
	f, err := l.open(indexFile)
	if errors.Is(err, os.ErrNotExist) {
		return &oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []oci.Descriptor{}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, oci.MaxDocument+1))
	if err != nil {
		return nil, err
	}
	return oci.ParseIndex(raw, "")
}

// Manifest is Place's; tag may be a digest.
func (l *Directory) Manifest(ctx context.Context, tag string) ([]byte, string, error) {
	if _, err := os.Stat(l.dir); err != nil {
		return nil, "", err
	}
	x, err := l.index()
	if err != nil {
		return nil, "", err
	}
	i := slices.IndexFunc(x.Manifests, func(d oci.Descriptor) bool { return d.Annotations[refName] == tag || string(d.Digest) == tag })
	if i < 0 {
		return nil, "", errdefs.New(errdefs.NotFound, "%s has no cache named %q", l.dir, tag)
	}
	raw, err := small(ctx, l, x.Manifests[i])
	return raw, x.Manifests[i].MediaType, err
}

// Begin is Place's: one after the other, so that nobody deletes what another is
// about to name. The lock is on the directory itself (flock(2)).
func (l *Directory) Begin() (done func() error, err error) {
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(l.dir)
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(&os.PathError{Op: "flock", Path: l.dir, Err: err}, f.Close())
	}
	return f.Close, nil
}

// Put is Place's.
func (l *Directory) Put(ctx context.Context, d oci.Descriptor, content io.ReaderAt) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return l.write(blobName(d.Digest), io.NewSectionReader(content, 0, d.Size))
}

// write replaces a file of the layout as a whole, and a link by the file.
func (l *Directory) write(name string, content io.Reader) error {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(blobsDir, 0o755); err != nil {
		return err
	}
	tmp := ".new-" + ident.NewLink()
	f, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = root.Rename(tmp, name)
	}
	if err != nil {
		err = errors.Join(err, root.Remove(tmp))
	}
	return err
}

// PutManifest is Place's. The blobs that then no tag leads to are deleted: a
// directory that is written to again and again does not grow for ever.
func (l *Directory) PutManifest(ctx context.Context, tag string, d oci.Descriptor, doc []byte) error {
	if err := l.Put(ctx, d, bytes.NewReader(doc)); err != nil {
		return err
	}
	x, err := l.index()
	if err != nil {
		return err
	}
	x.Manifests = slices.DeleteFunc(x.Manifests, func(m oci.Descriptor) bool { return m.Annotations[refName] == tag })
	d.Annotations = map[string]string{refName: tag}
	x.Manifests = append(x.Manifests, d)
	raw, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if err := l.write(layoutFile, strings.NewReader(layoutText)); err != nil {
		return err
	}
	if err := l.write(indexFile, bytes.NewReader(raw)); err != nil {
		return err
	}
	return l.sweep(ctx, x)
}

// sweep deletes the blobs that no manifest leads to, if all manifests are caches:
// what others have put here is theirs.
//
// Preconditions: this process has the right to write.
func (l *Directory) sweep(ctx context.Context, x *oci.Index) error {
	used := map[string]bool{}
	for _, d := range x.Manifests {
		raw, err := small(ctx, l, d)
		if err != nil {
			return nil //nolint:nilerr // who knows what it leads to
		}
		doc, err := oci.ParseDocument(raw, d.MediaType)
		if err != nil || doc.Manifest == nil || doc.Manifest.Config.MediaType != MediaType {
			return nil //nolint:nilerr // as above
		}
		used[d.Digest.Hex()], used[doc.Manifest.Config.Digest.Hex()] = true, true
		for _, b := range doc.Manifest.Layers {
			used[b.Digest.Hex()] = true
		}
	}
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), blobsDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if used[e.Name()] || digests(oci.Digest("sha256:"+e.Name())) != nil {
			continue
		}
		if err := root.Remove(path.Join(blobsDir, e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
