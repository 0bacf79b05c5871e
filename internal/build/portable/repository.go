package portable

import (
	"context"
	"io"

	"berth/internal/image/transfer"
	"berth/internal/oci"
)

// Repository is a repository of a registry. Source may be another one than
// Target: a mirror.
type Repository struct {
	Source transfer.Source
	Target transfer.Target // nil: it is only read
}

// Begin is Place's. A registry takes care of its writers itself.
func (r *Repository) Begin() (done func() error, err error) { return func() error { return nil }, nil }

// Manifest is Place's.
func (r *Repository) Manifest(ctx context.Context, tag string) ([]byte, string, error) {
	d, doc, err := r.Source.Manifest(ctx, tag)
	return doc, d.MediaType, err
}

// Open is Blobs's.
func (r *Repository) Open(ctx context.Context, d oci.Descriptor) (io.ReadCloser, error) {
	body, _, err := r.Source.Blob(ctx, d, 0, d.Size)
	return body, err
}

// Has is Place's.
func (r *Repository) Has(ctx context.Context, d oci.Descriptor) (bool, error) {
	return r.Target.HasBlob(ctx, d)
}

// Put is Place's.
func (r *Repository) Put(ctx context.Context, d oci.Descriptor, content io.ReaderAt) error {
	return r.Target.Upload(ctx, d, content, func(int64) {})
}

// PutManifest is Place's.
func (r *Repository) PutManifest(ctx context.Context, tag string, d oci.Descriptor, doc []byte) error {
	return r.Target.PutManifest(ctx, tag, d.MediaType, doc)
}
