package transfer

import (
	"context"
	"path"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/reference"
)

// dockerArchive loads the images that a manifest.json lists: for each the name
// of its config's file, its tags, and the names of its layers' files.
func (l *loader) dockerArchive(ctx context.Context, doc []byte) error {
	var images []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := oci.Decode("manifest.json", doc, 2, &images); err != nil {
		return err
	}
	for _, m := range images {
		names, err := parseTags(m.RepoTags)
		if err != nil {
			return err
		}
		raw, err := l.document(m.Config)
		if err != nil {
			return errdefs.Wrap(err, "read", "image config")
		}
		// The config's file is named by its digest, when it is named by one.
		if said := strings.TrimSuffix(path.Base(m.Config), ".json"); ident.Valid(said) && said != oci.DigestOf(raw).Hex() {
			return &errdefs.Error{Kind: errdefs.InvalidArgument, Op: "verify", Subject: m.Config, Err: errDigest}
		}
		_, layers, err := parseConfig(raw, len(m.Layers))
		if err != nil {
			return err
		}
		for i, name := range m.Layers {
			layers[i].open = l.openLayer(name, layers[i].id, oci.Descriptor{})
		}
		if err := l.image(ctx, raw, layers, names); err != nil {
			return err
		}
	}
	return nil
}

// parseTags reads names that must have a tag.
func parseTags(tags []string) ([]reference.Named, error) {
	var names []reference.Named
	for _, t := range tags {
		n, err := reference.ParseExact(t)
		if err != nil {
			return nil, err
		}
		if n.Tag() == "" || n.Digest() != "" {
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid tag %q", t)
		}
		names = append(names, n)
	}
	return names, nil
}
