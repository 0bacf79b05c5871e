package engine

import (
	"context"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Tag gives an image one more name, and takes that name from whichever image had it.
func (i *Images) Tag(ctx context.Context, ref, target string) error {
	id, err := i.e.images.Lookup(ref)
	if err != nil {
		return err
	}
	name, err := reference.Parse(target)
	if err != nil {
		return errdefs.Wrap(err, "parse", `"`+target+`" as a repository:tag`)
	}
	if name.Digest() != "" {
		return errdefs.New(errdefs.InvalidArgument, "refusing to create a tag with a digest reference")
	}
	return i.e.tag(name, id)
}

func (e *Engine) tag(name reference.Named, id oci.Digest) error {
	if _, err := e.images.Tag(name, id); err != nil {
		return err
	}
	e.emitImage("tag", id, name.Familiar())
	return nil
}

// emitImage records what happened to an image.
func (e *Engine) emitImage(action string, id oci.Digest, name string) {
	e.emit("image", action, id.String(), container.State{Name: name})
}
