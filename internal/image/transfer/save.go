package transfer

import (
	"context"
	"io"
	"slices"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/layertar"
	"berth/internal/image/layout"
	"berth/internal/oci"
	"berth/internal/reference"
)

// SaveOptions say what to save.
type SaveOptions struct {
	// Images are names, ids or beginnings of ids. A name without a tag means all
	// tags of the repository, as Docker has it.
	Images []string
	// Platform is what the images must be for; nil: anything.
	Platform *oci.Platform
}

// Save writes images as one tar that is both an OCI layout and what docker load
// reads. The layers in it are not packed: each is the tar that its image's config
// names, or Save fails. Nothing is written before all images were found. It
// returns the ids of the images.
func (s *Store) Save(ctx context.Context, w io.Writer, o SaveOptions) ([]oci.Digest, error) {
	lease, err := s.images.Lease()
	if err != nil {
		return nil, err
	}
	defer lease.Close() //nolint:errcheck // it ends with the process at the latest
	wanted, err := s.choose(o.Images)
	if err != nil {
		return nil, err
	}
	l := layout.New()
	var ids []oci.Digest
	for _, c := range wanted {
		img, err := lease.UseImage(c.id)
		if err != nil {
			return nil, err
		}
		if err := checkPlatform(c.ref, &img.Config, o.Platform); err != nil {
			return nil, err
		}
		if err := s.addTo(ctx, l, img, c.names); err != nil {
			return nil, errdefs.Wrap(err, "save", c.ref)
		}
		ids = append(ids, img.ID)
	}
	return ids, l.WriteTar(ctx, w)
}

// chosen is an image to save and the names it goes by.
type chosen struct {
	ref   string // as the user said it
	id    oci.Digest
	names []reference.Named
}

// choose finds the images that the user means, each once.
func (s *Store) choose(refs []string) ([]chosen, error) {
	names, err := s.images.Names()
	if err != nil {
		return nil, err
	}
	var all []chosen
	add := func(ref string, id oci.Digest, name reference.Named) {
		i := slices.IndexFunc(all, func(c chosen) bool { return c.id == id })
		if i < 0 {
			i, all = len(all), append(all, chosen{ref: ref, id: id})
		}
		if name.Tag() != "" && name.Digest() == "" && !slices.Contains(all[i].names, name) {
			all[i].names = append(all[i].names, name)
		}
	}
	for _, ref := range refs {
		if exact, err := reference.ParseExact(ref); err == nil && exact.IsNameOnly() {
			if tags := tagsOf(names, exact); len(tags) > 0 {
				for _, t := range tags {
					add(ref, names[exact.FamiliarName()][t.Familiar()], t)
				}
				continue
			}
		}
		id, err := s.images.Lookup(ref)
		if err != nil {
			return nil, err
		}
		name, err := reference.ParseExact(ref)
		if err != nil || names[name.FamiliarName()][name.Familiar()] != id {
			name = reference.Named{} // it was the beginning of an id
		}
		add(ref, id, name)
	}
	return all, nil
}

// tagsOf returns the tagged names of a repository, sorted.
func tagsOf(names catalog.Names, repository reference.Named) []reference.Named {
	var tags []reference.Named
	for full := range names[repository.FamiliarName()] {
		if n, err := reference.ParseExact(full); err == nil && n.Tag() != "" && n.Digest() == "" {
			tags = append(tags, n)
		}
	}
	slices.SortFunc(tags, func(a, b reference.Named) int {
		if a.Tag() < b.Tag() {
			return -1
		}
		return 1
	})
	return tags
}

// addTo adds an image to a layout.
func (s *Store) addTo(ctx context.Context, l *layout.Layout, img *catalog.Image, names []reference.Named) error {
	m := oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaTypeManifest, Config: l.Raw(oci.MediaTypeConfig, img.Raw), Layers: []oci.Descriptor{}}
	for i, chain := range img.Chain() {
		t, err := layertar.Open(s.images, s.layers, chain)
		if err != nil {
			return err
		}
		size, err := t.Size(ctx)
		if err != nil {
			return err
		}
		d := oci.Descriptor{MediaType: oci.MediaTypeLayer, Digest: img.Config.RootFS.DiffIDs[i], Size: size}
		l.Blobs[d.Digest] = plainLayer{t, size}
		m.Layers = append(m.Layers, d)
	}
	d, err := l.Document(m.MediaType, m)
	if err != nil {
		return err
	}
	d.Platform = platformOf(&img.Config)
	l.Name(d, names...)
	l.AddDocker(img.ID, img.Config.RootFS.DiffIDs, names)
	return nil
}

// plainLayer is a layer's tar as content of a layout.
type plainLayer struct {
	*layertar.Tar
	size int64
}

func (p plainLayer) Size() int64 { return p.size }

// platformOf returns what a config says that its image is for; nil if it says nothing.
func platformOf(c *oci.ImageConfig) *oci.Platform {
	if c.OS == "" && c.Architecture == "" {
		return nil
	}
	return &oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
}

// checkPlatform compares a config with a platform that the user asked for; nil: none.
func checkPlatform(ref string, c *oci.ImageConfig, want *oci.Platform) error {
	have := oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}.Normalize()
	if want == nil || want.Runs(have) {
		return nil
	}
	return errdefs.New(errdefs.NotFound, "image with reference %s was found but its platform (%s) does not match the specified platform (%s)", ref, have, want.Normalize())
}
