package catalog

import (
	"errors"
	"os"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Resolve returns the image that a user means by name, name:tag, name@digest,
// image id or a unique prefix of one. A name wins over an id.
func (s *Store) Resolve(ref string) (*Image, error) {
	id, err := s.Lookup(ref)
	if err != nil {
		return nil, err
	}
	return s.Get(id)
}

// Lookup is Resolve without reading the image.
func (s *Store) Lookup(ref string) (oci.Digest, error) {
	if id, ok := fullID(ref); ok {
		if _, err := os.Lstat(s.content(id)); err != nil {
			return "", noSuchImage(ref, err)
		}
		return id, nil
	}
	name, err := reference.Parse(ref)
	if err != nil {
		return "", err
	}
	id, ok, err := s.lookupName(name)
	if err != nil || ok {
		return id, err
	}
	prefix := strings.TrimPrefix(ref, "sha256:")
	if !ident.IsPrefix(prefix) {
		return "", noSuchImage(name.Familiar(), os.ErrNotExist)
	}
	ids, err := s.imageIDs()
	if err != nil {
		return "", err
	}
	hex, err := ident.Resolve(prefix, ids, "image")
	if errors.Is(err, errdefs.NotFound) {
		return "", noSuchImage(name.Familiar(), os.ErrNotExist)
	}
	return oci.Digest("sha256:" + hex), err
}

// fullID accepts a whole image id with or without "sha256:".
func fullID(ref string) (oci.Digest, bool) {
	if ident.Valid(ref) {
		return oci.Digest("sha256:" + ref), true
	}
	id, err := oci.ParseDigest(ref)
	return id, err == nil
}

func noSuchImage(ref string, err error) error {
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errdefs.New(errdefs.NotFound, "no such image: %s", ref).WithHint("list the images with: berth image ls")
}

// imageIDs returns the ids of all images, without "sha256:".
func (s *Store) imageIDs() ([]string, error) {
	d, err := os.Open(s.contentDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	ids := names[:0]
	for _, n := range names {
		if ident.Valid(n) {
			ids = append(ids, n)
		}
	}
	return ids, err
}
