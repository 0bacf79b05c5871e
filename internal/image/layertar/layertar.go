// Package layertar writes the tar of a layer of the store, byte for byte.
//
// A layer is a directory once it is here. Its tar is needed again wherever the
// image leaves: in an archive, in a registry, in a build's result. Whoever reads
// it compares its digest with the image's config, so only the very same bytes
// will do. There are two kinds of layers:
//
//	brought (pull, load, import)   the record of its tar says how: storage/tarrecord
//	made here (build, commit)      archive.Diff wrote it, and writes the same again
//
// What is written is compared with the layer's diff id, at its end: an error
// means that the bytes before were not the layer.
package layertar

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
	"berth/internal/storage/tarrecord"
)

// Tar is the tar of one layer. The layer must be kept from being removed, by a
// lease, as long as it is used.
type Tar struct {
	diffID oci.Digest
	dir    string // of the layer's files
	record string // "" for a layer that was made here
	root   bool   // of a layer made here: it describes its root
}

// Open returns the tar of the layer on record under a chain id.
func Open(images *catalog.Store, layers *snapshot.Store, chain oci.Digest) (*Tar, error) {
	l, err := images.Layer(chain)
	if err != nil {
		return nil, err
	}
	t := &Tar{diffID: l.DiffID, dir: layers.Diff(l.Snapshot), record: images.TarRecord(chain)}
	switch _, err := os.Lstat(t.record); {
	case errors.Is(err, os.ErrNotExist):
		t.record = ""
		t.root, err = layers.RootChanged(l.Snapshot)
		return t, err
	case err != nil:
		return nil, err
	}
	return t, nil
}

// Size returns how many bytes the tar has.
func (t *Tar) Size(ctx context.Context) (int64, error) {
	if t.record == "" {
		dir, err := os.Open(t.dir)
		if err != nil {
			return 0, err
		}
		defer dir.Close()
		n, err := archive.DiffSize(ctx, dir, archive.DiffOptions{Root: t.root})
		return n, t.explain(err)
	}
	f, err := os.Open(t.record)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := tarrecord.Size(f)
	return n, t.explain(err)
}

// Write writes the tar to w. Without an error it is the one that the diff id names.
func (t *Tar) Write(ctx context.Context, w io.Writer) error {
	dir, err := os.Open(t.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	sum := sha256.New()
	w = io.MultiWriter(w, sum)
	if t.record == "" {
		_, err = archive.Diff(ctx, w, dir, archive.DiffOptions{Root: t.root})
	} else {
		var f *os.File
		if f, err = os.Open(t.record); err != nil {
			return err
		}
		err = errors.Join(tarrecord.Copy(ctx, w, f, dir), f.Close())
	}
	if err != nil {
		return t.explain(err)
	}
	if got := oci.DigestOfSum(sum.Sum(nil)); got != t.diffID {
		return t.explain(errdefs.New(errdefs.Conflict, "its files give the tar %s", got))
	}
	return nil
}

// explain says what to do about a layer that cannot be written again.
func (t *Tar) explain(err error) error {
	kind := errdefs.KindOf(err)
	if err == nil || kind != errdefs.Conflict && kind != errdefs.InvalidArgument {
		return err
	}
	return (&errdefs.Error{Kind: kind, Op: "write layer", Subject: ident.Short(t.diffID.Hex()), Err: err}).
		WithHint("the layer in %s was changed or damaged: remove the image and pull, load or build it again", t.dir)
}
