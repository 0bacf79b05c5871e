package catalog

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
)

// maxConfig bounds a config document; the largest in use are some 100 KiB.
const maxConfig = 4 << 20

// Image is an image as a container is made from it.
type Image struct {
	ID       oci.Digest
	Config   oci.ImageConfig
	Raw      []byte // the config document, exactly
	TopLayer string // its topmost layer in storage/snapshot, "" if it has none
}

// Chain returns the chain ids of the image's layers, base first.
func (i *Image) Chain() []oci.Digest { return ChainIDs(i.Config.RootFS.DiffIDs) }

// ChainIDs returns the chain ids of the stacks that the layers form, base first.
func ChainIDs(diffIDs []oci.Digest) []oci.Digest {
	chains := make([]oci.Digest, len(diffIDs))
	for i, d := range diffIDs {
		if i == 0 {
			chains[i] = d
			continue
		}
		chains[i] = ChainID(chains[i-1], d)
	}
	return chains
}

// ChainID returns the chain id of the layer diffID on the stack parent, "" for none.
func ChainID(parent, diffID oci.Digest) oci.Digest {
	if parent == "" {
		return diffID
	}
	sum := sha256.Sum256([]byte(string(parent) + " " + string(diffID)))
	return oci.DigestOfSum(sum[:])
}

// Get returns the image of an id. A config that is not what its name says is an error.
func (s *Store) Get(id oci.Digest) (*Image, error) {
	img, err := s.read(id)
	if err != nil {
		return nil, err
	}
	if n := len(img.Config.RootFS.DiffIDs); n > 0 {
		chain := img.Chain()
		if img.TopLayer, err = s.cacheID(chain[n-1]); err != nil {
			return nil, &errdefs.Error{Kind: errdefs.Internal, Op: "read image", Subject: ident.Short(id.Hex()), Err: err,
				Hint: "the image's layers are damaged: remove the image and pull it again"}
		}
	}
	return img, nil
}

// read returns an image without looking for its layers.
func (s *Store) read(id oci.Digest) (*Image, error) {
	raw, err := atomicfile.Read(s.content(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, errdefs.New(errdefs.NotFound, "no such image: %s", id)
	}
	if err != nil {
		return nil, err
	}
	img := &Image{ID: id, Raw: raw}
	if oci.DigestOf(raw) != id {
		return nil, s.damaged(id, errors.New("its content is not that of its name"))
	}
	if img.Config, err = parseConfig(raw); err != nil {
		return nil, s.damaged(id, err)
	}
	return img, nil
}

func (s *Store) damaged(id oci.Digest, err error) error {
	return (&errdefs.Error{Kind: errdefs.Internal, Op: "read image", Subject: s.content(id), Err: err}).
		WithHint("the file is damaged: remove the image (berth image rm -f %s) and pull it again", ident.Short(id.Hex()))
}

// parseConfig reads a config and checks what file names will be made from.
func parseConfig(raw []byte) (oci.ImageConfig, error) {
	c, err := decodeConfig(raw)
	if err != nil {
		return c, err
	}
	if t := c.RootFS.Type; t != "layers" && (t != "" || len(c.RootFS.DiffIDs) > 0) {
		return c, errdefs.New(errdefs.Unsupported, "rootfs of type %q", t)
	}
	for _, d := range c.RootFS.DiffIDs {
		if _, err := oci.ParseDigest(string(d)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// put writes an image whose layers are all on record; see Lease.Put.
//
// Preconditions: the store's lock is held.
func (s *Store) put(ctx context.Context, raw []byte, parent oci.Digest) (*Image, error) {
	if len(raw) > maxConfig {
		return nil, errdefs.New(errdefs.InvalidArgument, "an image config of %d bytes: at most %d are accepted", len(raw), maxConfig)
	}
	config, err := parseConfig(raw)
	if err != nil {
		return nil, &errdefs.Error{Kind: errdefs.InvalidArgument, Op: "read", Subject: "image config", Err: err}
	}
	img := &Image{ID: oci.DigestOf(raw), Config: config, Raw: raw}
	for _, chain := range img.Chain() {
		if img.TopLayer, err = s.cacheID(chain); err != nil {
			return nil, &errdefs.Error{Kind: errdefs.NotFound, Op: "store image", Subject: ident.Short(img.ID.Hex()), Err: err}
		}
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if old, err := os.ReadFile(s.content(img.ID)); err == nil && oci.DigestOf(old) == img.ID {
		return img, nil
	}
	if parent != "" {
		if err := os.MkdirAll(s.metadata(img.ID), 0o700); err != nil {
			return nil, err
		}
		if err := atomicfile.Write(s.metadata(img.ID)+"/parent", []byte(parent), 0o600, atomicfile.Durable); err != nil {
			return nil, err
		}
		if err := atomicfile.SyncDir(s.metadataDir()); err != nil {
			return nil, err
		}
	}
	s.step("write config")
	return img, atomicfile.Write(s.content(img.ID), raw, 0o600, atomicfile.Durable)
}

// Parent returns the image that id was committed from, or "".
func (s *Store) Parent(id oci.Digest) oci.Digest {
	b, err := os.ReadFile(s.metadata(id) + "/parent")
	if err != nil {
		return ""
	}
	parent, err := oci.ParseDigest(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	return parent
}

// LastTagTime returns when the image was last given a name; zero: never.
func (s *Store) LastTagTime(id oci.Digest) time.Time {
	b, err := os.ReadFile(s.metadata(id) + "/lastUpdated")
	if err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(b)))
	if err != nil {
		return time.Time{}
	}
	return t
}

// touch records the time of a new name. Losing it to a crash harms nobody.
func (s *Store) touch(id oci.Digest) error {
	if err := os.MkdirAll(s.metadata(id), 0o700); err != nil {
		return err
	}
	now := time.Now().UTC().Format(time.RFC3339Nano)
	return atomicfile.Write(s.metadata(id)+"/lastUpdated", []byte(now), 0o600, atomicfile.Atomic)
}
