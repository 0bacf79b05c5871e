package catalog

import (
	"errors"
	"time"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// Entry is one image as lists show it.
type Entry struct {
	Image
	Tags    []string // "busybox:latest", sorted
	Digests []string // "busybox@sha256:...", sorted
	Parent  oci.Digest
	Size    int64 // bytes of all its layers
	Err     error // the image is damaged: only ID, Tags and Digests are known
}

// List returns all images in no particular order.
func (s *Store) List() ([]Entry, error) {
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	ids, err := s.imageIDs()
	if err != nil {
		return nil, err
	}
	tags, digests := names.byImage()
	sizes := map[oci.Digest]int64{}
	list := make([]Entry, 0, len(ids))
	for _, hex := range ids {
		id := oci.Digest("sha256:" + hex)
		e := Entry{Image: Image{ID: id}, Tags: tags[id], Digests: digests[id]}
		img, err := s.read(id)
		if errors.Is(err, errdefs.NotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			e.Err = err
		} else {
			e.Image, e.Parent = *img, s.Parent(id)
			e.Size, e.Err = s.size(img, sizes)
		}
		list = append(list, e)
	}
	return list, nil
}

// Size returns the bytes of all layers of an image.
func (s *Store) Size(img *Image) (int64, error) { return s.size(img, map[oci.Digest]int64{}) }

// LayerSizes returns the bytes of each layer of an image, base first.
func (s *Store) LayerSizes(img *Image) ([]int64, error) {
	chain := img.Chain()
	sizes := make([]int64, len(chain))
	for i, c := range chain {
		l, err := s.Layer(c)
		if err != nil {
			return nil, err
		}
		sizes[i] = l.Size
	}
	return sizes, nil
}

func (s *Store) size(img *Image, known map[oci.Digest]int64) (int64, error) {
	var sum int64
	for _, c := range img.Chain() {
		n, ok := known[c]
		if !ok {
			l, err := s.Layer(c)
			if err != nil {
				return 0, err
			}
			n = l.Size
			known[c] = n
		}
		sum += n
	}
	return sum, nil
}

// Created returns when the image was made; zero if its config does not say.
func (i *Image) Created() time.Time {
	if i.Config.Created == nil {
		return time.Time{}
	}
	return *i.Config.Created
}
