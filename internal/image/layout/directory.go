package layout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/oci"
)

// WriteDir writes the layout into a directory, which is made if it is missing. A
// layout that is there is added to: an image of the same name is replaced.
// index.json is written last, so that whoever reads it finds every blob that it
// leads to.
func (l *Layout) WriteDir(ctx context.Context, dir string) error {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return err
	}
	for d, c := range l.Blobs {
		if ctx.Err() != nil {
			return &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
		}
		path := filepath.Join(blobs, d.Hex())
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() == c.Size() {
			continue
		}
		if err := atomicfile.Output(path, func(w io.Writer) error { return c.Write(ctx, w) }); err != nil {
			return err
		}
	}
	if err := atomicfile.Write(filepath.Join(dir, "oci-layout"), []byte(layoutFile), 0o644, atomicfile.Atomic); err != nil {
		return err
	}
	if l.Docker != nil {
		b, err := json.Marshal(l.Docker)
		if err != nil {
			return err
		}
		if err := atomicfile.Write(filepath.Join(dir, "manifest.json"), b, 0o644, atomicfile.Atomic); err != nil {
			return err
		}
	}
	lock, err := filelock.Exclusive(filepath.Join(dir, "index.json.lock"))
	if err != nil {
		return err
	}
	err = l.writeIndex(filepath.Join(dir, "index.json"))
	return errors.Join(err, os.Remove(filepath.Join(dir, "index.json.lock")), lock.Unlock())
}

// writeIndex adds to the index that is there.
//
// Preconditions: its lock is held.
func (l *Layout) writeIndex(path string) error {
	x := l.Index
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil && len(bytes.TrimSpace(old)) > 0 {
		have, err := oci.ParseIndex(old, "")
		if err != nil {
			return errdefs.Wrap(err, "read", path)
		}
		replaced := func(d oci.Descriptor) bool {
			return slices.ContainsFunc(x.Manifests, func(n oci.Descriptor) bool {
				name := d.Annotations["io.containerd.image.name"]
				return d.Digest == n.Digest && name == "" || name != "" && name == n.Annotations["io.containerd.image.name"]
			})
		}
		x.Manifests = append(slices.DeleteFunc(have.Manifests, replaced), x.Manifests...)
	}
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, b, 0o644, atomicfile.Atomic)
}
