package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// Layer is the record of a stack of layers, named by its chain id.
type Layer struct {
	Chain    oci.Digest
	Parent   oci.Digest // chain id of the stack below, "" for a base layer
	DiffID   oci.Digest // digest of the top layer's tar
	Snapshot string     // the top layer in storage/snapshot
	Size     int64      // bytes of the top layer's files
}

// Names in layerdb that are no records.
const (
	tempPrefix  = ".tmp-"   // being written; the name of the writer's lease follows
	trashPrefix = ".trash-" // being deleted
)

// Layer returns the record of a chain id; NotFound if there is none.
func (s *Store) Layer(chain oci.Digest) (Layer, error) {
	l := Layer{Chain: chain}
	dir := s.LayerDir(chain)
	var err error
	if l.Snapshot, err = s.cacheID(chain); err != nil {
		return l, err
	}
	if l.DiffID, err = readDigest(dir + "/diff"); err != nil {
		return l, err
	}
	if l.Parent, err = readDigest(dir + "/parent"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return l, err
	}
	b, err := atomicfile.Read(dir + "/size")
	if err != nil {
		return l, err
	}
	if l.Size, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil {
		return l, fmt.Errorf("read %s/size: %w", dir, err)
	}
	return l, nil
}

// cacheID returns the snapshot of a chain id.
func (s *Store) cacheID(chain oci.Digest) (string, error) {
	path := s.LayerDir(chain) + "/cache-id"
	b, err := atomicfile.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", errdefs.New(errdefs.NotFound, "no such layer: %s", chain)
	}
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(string(b))
	if !ident.Valid(id) {
		return "", fmt.Errorf("read %s: %q is no layer id", path, id)
	}
	return id, nil
}

func readDigest(path string) (oci.Digest, error) {
	b, err := atomicfile.Read(path)
	if err != nil {
		return "", err
	}
	d, err := oci.ParseDigest(strings.TrimSpace(string(b)))
	return d, errdefs.Wrap(err, "read", path)
}

// NewLayer is a layer to be added: a filled draft and what is known of it.
type NewLayer struct {
	Draft  *snapshot.Draft
	Parent oci.Digest // chain id of the stack it lies on, "" for a base layer
	DiffID oci.Digest
	Size   int64 // bytes of its files; -1: to be counted
	// Extra, when not nil, may write more files into the record's directory,
	// with names that do not begin with a dot.
	Extra func(dir string) error
}

// addLayer commits a synced draft and gives its record, written in tmp, the
// name of its chain id. It reports false if the layer is on record already,
// because another pull was faster.
//
// Preconditions: the store's lock is held; draft and record are synced.
func (s *Store) addLayer(ctx context.Context, n NewLayer, l Layer, tmp string) (Layer, bool, error) {
	if have, err := s.Layer(l.Chain); err == nil {
		return have, false, nil
	}
	if err := s.checkParent(n); err != nil {
		return l, false, err
	}
	s.step("commit layer")
	if _, err := n.Draft.Commit(ctx); err != nil {
		return l, false, err
	}
	s.step("rename record")
	if err := os.Rename(tmp, s.LayerDir(l.Chain)); err != nil {
		err = errors.Join(err, s.layers.Remove(l.Snapshot))
		if have, herr := s.Layer(l.Chain); herr == nil { // between the look above and the rename
			return have, false, nil
		}
		return l, false, err
	}
	s.step("sync records")
	return l, true, atomicfile.SyncDir(s.layerDir())
}

// checkParent makes sure that the draft lies on the files its chain id says.
func (s *Store) checkParent(n NewLayer) error {
	want := ""
	if n.Parent != "" {
		var err error
		if want, err = s.cacheID(n.Parent); err != nil {
			return err
		}
	}
	if n.Draft.Parent() != want {
		return errdefs.New(errdefs.Internal, "layer %s was unpacked on %q, its parent is %q", n.DiffID, n.Draft.Parent(), want)
	}
	return nil
}

// writeRecord writes a layer's record into a new directory.
func writeRecord(dir string, l Layer, extra func(string) error) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	files := [...][2]string{{"cache-id", l.Snapshot}, {"diff", string(l.DiffID)}, {"size", strconv.FormatInt(l.Size, 10)}, {"parent", string(l.Parent)}}
	for _, f := range files {
		if f[1] == "" {
			continue
		}
		if err := os.WriteFile(dir+"/"+f[0], []byte(f[1]), 0o600); err != nil {
			return err
		}
	}
	if extra != nil {
		return extra(dir)
	}
	return nil
}

// chains returns the chain ids of all layers on record.
func (s *Store) chains() ([]oci.Digest, error) {
	d, err := os.Open(s.layerDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	chains := make([]oci.Digest, 0, len(names))
	for _, n := range names {
		if ident.Valid(n) {
			chains = append(chains, oci.Digest("sha256:"+n))
		}
	}
	return chains, err
}
