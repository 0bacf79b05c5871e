package build

import (
	"context"
	"strings"

	"berth/internal/build/export"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/transfer"
)

// pushing lets --push hold for the outputs that are images, and wants a name for
// what is pushed.
func (r *request) pushing() error {
	pushed := false
	for i := range r.outputs {
		o := &r.outputs[i]
		o.push = o.push || r.push && o.kind == "image"
		pushed = pushed || o.push
		if o.push && o.kind != "image" {
			return errdefs.New(errdefs.InvalidArgument, "an output of type %s cannot be pushed", o.kind).WithHint("use --output type=registry, beside it if you like")
		}
	}
	switch {
	case r.push && !pushed:
		return errdefs.New(errdefs.InvalidArgument, "push and %s output can't be used together", r.outputs[0].kind).WithHint("add --output type=registry")
	case pushed && len(r.tags) == 0:
		return errdefs.New(errdefs.InvalidArgument, "tag is needed when pushing to registry").WithHint("name the image: -t REGISTRY/NAME:TAG")
	}
	return nil
}

// upload pushes the images, those of several platforms as one.
func (b *build) upload(ctx context.Context, o *destination, results []*solve.Result, m *made) error {
	p := transfer.PushOptions{Manifest: b.manifestAnnotations(o), Repack: isTrue(o.attrs["force-compression"])}
	var err error
	if p.Packing, err = packed(o); err != nil {
		return err
	}
	w, err := export.Push(ctx, results, export.PushOptions{
		DataRoot: b.Env.DataRoot, Names: b.tags, Rewrite: isTrue(o.attrs["rewrite-timestamp"]), Inline: b.wants(isInline), Attest: b.attestTo(o.kind),
		Push: p, Send: b.Send, Events: b.sink,
	})
	if err != nil {
		return err
	}
	m.digest = w.Descriptor.Digest
	if m.id == "" {
		m.id, m.index = w.Descriptor.Digest, true
	}
	return nil
}

// manifestAnnotations are those that the user wants in a manifest.
func (b *build) manifestAnnotations(o *destination) map[string]string {
	all := map[string]string{}
	for _, n := range b.annotations {
		all[n.key] = n.value
	}
	for k, v := range o.attrs {
		if name, ok := strings.CutPrefix(k, "annotation."); ok {
			all[name] = v
		}
	}
	return all
}
