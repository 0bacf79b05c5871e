package engine

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/oci"
)

// ImageSummary is one row of image ls.
type ImageSummary struct {
	ID          string // "sha256:<hex>"
	RepoTags    []string
	RepoDigests []string
	Created     time.Time
	Size        int64 // bytes of all its layers unpacked
	Containers  int   // containers that use it; -1: not counted
	Labels      map[string]string
	ParentID    string
}

// List returns the images that match reference pattern ref ("" : all) and the
// filters, newest first. Without all it leaves out unnamed images that another
// image was made from.
func (i *Images) List(ctx context.Context, ref string, all bool, f Filters) ([]ImageSummary, error) {
	shelf, err := i.e.shelf()
	if err != nil {
		return nil, err
	}
	filter, err := shelf.newFilter(i.e, ref, f)
	if err != nil {
		return nil, err
	}
	var list []ImageSummary
	for _, e := range shelf.entries {
		if s, ok := filter.apply(shelf, e, all); ok {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b ImageSummary) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// Inspect returns one image.
func (i *Images) Inspect(ctx context.Context, ref string) (*ImageInspection, error) {
	img, err := i.e.images.Resolve(ref)
	if err != nil {
		return nil, err
	}
	names, err := i.e.images.Names()
	if err != nil {
		return nil, err
	}
	size, err := i.e.images.Size(img)
	if err != nil {
		return nil, err
	}
	e := catalog.Entry{Image: *img, Parent: i.e.images.Parent(img.ID), Size: size}
	e.Tags, e.Digests = names.Of(img.ID)
	in := &ImageInspection{ImageSummary: summarize(e), Config: img.Config, LastTagTime: i.e.images.LastTagTime(img.ID)}
	if img.TopLayer != "" {
		if in.GraphDriver, err = i.e.snapshots.GraphData(img.TopLayer); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// ImageInspection is an image whole.
type ImageInspection struct {
	ImageSummary
	Config      oci.ImageConfig
	GraphDriver map[string]string // LowerDir, MergedDir, UpperDir, WorkDir of its top layer
	LastTagTime time.Time
}

func summarize(e catalog.Entry) ImageSummary {
	return ImageSummary{
		ID: e.ID.String(), RepoTags: e.Tags, RepoDigests: e.Digests, Created: e.Created(), Size: e.Size,
		Containers: -1, Labels: e.Config.Config.Labels, ParentID: e.Parent.String(),
	}
}

// shelf is all images at one moment, with what the rules of listing and removing ask.
type shelf struct {
	entries  []catalog.Entry
	children map[oci.Digest][]oci.Digest // images committed from an image
}

func (e *Engine) shelf() (*shelf, error) {
	entries, err := e.images.List()
	if err != nil {
		return nil, err
	}
	s := &shelf{entries: entries, children: map[oci.Digest][]oci.Digest{}}
	for _, entry := range entries {
		if entry.Parent != "" {
			s.children[entry.Parent] = append(s.children[entry.Parent], entry.ID)
		}
	}
	return s, nil
}

// forget takes a removed image off the shelf.
func (s *shelf) forget(id, parent oci.Digest) {
	s.children[parent] = slices.DeleteFunc(s.children[parent], func(c oci.Digest) bool { return c == id })
}

// layersInUse returns a test for the layers that the containers stand on.
func (e *Engine) layersInUse(states []container.State) (func(layer string) bool, error) {
	used := map[string]bool{}
	for _, st := range states {
		if st.ImageID == "" {
			continue // its rootfs is a directory of the user's
		}
		layers, err := e.layersOf(st)
		if err != nil {
			return nil, errdefs.Wrap(err, "find the layers of container", ident.Short(st.ID))
		}
		for _, l := range layers {
			used[l] = true
		}
	}
	return func(layer string) bool { return used[layer] }, nil
}

// layersOf returns the layers under a container. A container whose list of
// layers was lost in a power cut still has its image.
func (e *Engine) layersOf(st container.State) ([]string, error) {
	layers, err := e.snapshots.Below(st.ID)
	if err == nil || errors.Is(err, os.ErrNotExist) && !e.snapshots.Exists(st.ID) {
		return layers, nil // also of a container that was removed just now
	}
	img, ierr := e.images.Get(oci.Digest(st.ImageID))
	if ierr != nil || img.TopLayer == "" {
		return nil, err
	}
	layers, ierr = e.snapshots.Below(img.TopLayer)
	return append(layers, img.TopLayer), ierr
}
