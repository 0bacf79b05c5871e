package catalog

import (
	"encoding/json"
	"errors"
	"os"
	"slices"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/oci"
)

// tarRecordName is the file of a layer's record that says how its tar was put
// together (storage/tarrecord). A layer that was made here has none: its tar is
// what archive.Diff writes.
const tarRecordName = "tar-record"

// TarRecord returns the path of a layer's tar record.
func (s *Store) TarRecord(chain oci.Digest) string { return s.LayerDir(chain) + "/" + tarRecordName }

// TarRecordIn returns the path of the tar record in the directory of a layer's
// record that is being written (NewLayer.Extra).
func TarRecordIn(dir string) string { return dir + "/" + tarRecordName }

// Blob is a packed form of a layer, and a repository that has it.
type Blob struct {
	Digest     oci.Digest `json:"digest"`
	Size       int64      `json:"size"`
	MediaType  string     `json:"mediaType"`
	Repository string     `json:"repository"` // "docker.io/library/busybox"
}

// Descriptor returns the blob's descriptor.
func (b Blob) Descriptor() oci.Descriptor {
	return oci.Descriptor{MediaType: b.MediaType, Digest: b.Digest, Size: b.Size}
}

const (
	blobsName = "/blobs.json"
	maxBlobs  = 32 // are remembered of one layer
)

// Blobs returns where a layer is known to be in registries, the latest first. A
// registry may have removed it since. Without a readable list there is none: it
// saves work, and nothing depends on it.
func (s *Store) Blobs(chain oci.Digest) []Blob {
	raw, err := os.ReadFile(s.LayerDir(chain) + blobsName)
	var list []Blob
	if err != nil || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	return slices.DeleteFunc(list, func(b Blob) bool {
		_, err := oci.ParseDigest(string(b.Digest))
		return err != nil || b.Size < 0
	})
}

// AddBlob remembers that a repository has a packed form of a layer, which the
// lease covers. Losing it to a crash harms nobody.
func (l *Lease) AddBlob(chain oci.Digest, b Blob) error {
	if have := l.s.Blobs(chain); len(have) > 0 && have[0] == b {
		return nil
	}
	lock, err := l.s.lock(filelock.Exclusive, "/.blobs.lock")
	if err != nil {
		return err
	}
	defer lock.Unlock() //nolint:errcheck // nothing was written through it
	list := slices.DeleteFunc(l.s.Blobs(chain), func(old Blob) bool { return old.Repository == b.Repository })
	list = append([]Blob{b}, list...)
	raw, err := json.Marshal(list[:min(len(list), maxBlobs)])
	if err != nil {
		return err
	}
	return atomicfile.Write(l.s.LayerDir(chain)+blobsName, raw, 0o600, atomicfile.Atomic)
}

func (s *Store) manifest(id oci.Digest) string { return s.metadata(id) + "/manifest.json" }

// KeepManifest keeps the manifest by which an image of this lease came, so that
// it can leave by the same one, in place of an earlier one.
func (l *Lease) KeepManifest(id oci.Digest, doc []byte) error {
	if have, err := os.ReadFile(l.s.manifest(id)); err == nil && string(have) == string(doc) {
		return nil
	}
	if err := os.MkdirAll(l.s.metadata(id), 0o700); err != nil {
		return err
	}
	return errdefs.Wrap(atomicfile.Write(l.s.manifest(id), doc, 0o600, atomicfile.Atomic), "store the manifest of", ident.Short(id.Hex()))
}

// Manifest returns the manifest that KeepManifest kept; nil if there is none.
func (s *Store) Manifest(id oci.Digest) ([]byte, error) {
	doc, err := os.ReadFile(s.manifest(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return doc, err
}
