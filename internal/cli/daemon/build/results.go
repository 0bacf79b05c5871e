package build

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strconv"
	"strings"

	"berth/internal/atomicfile"
	"berth/internal/build/export"
	"berth/internal/build/solve"
	"berth/internal/cli/daemon/build/printer"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/image/packing"
	"berth/internal/oci"
)

// export makes of the results, one for each platform, what the user asked for.
func (b *build) export(ctx context.Context, results []*solve.Result) (*made, error) {
	m := &made{}
	for i := range b.outputs {
		if err := b.put(ctx, &b.outputs[i], results, m); err != nil {
			return nil, err
		}
	}
	if err := b.record(m); err != nil {
		return nil, err
	}
	return m, nil
}

// put makes one output.
func (b *build) put(ctx context.Context, o *destination, results []*solve.Result, m *made) error {
	switch o.kind {
	case "cacheonly":
		return nil
	case "image":
		if len(results) == 1 { // the store holds images of one platform
			if err := b.store(ctx, o, results[0], m); err != nil {
				return err
			}
		}
		if o.push {
			return b.upload(ctx, o, results, m)
		}
		return nil
	case "local":
		return export.Local(ctx, o.dest, results, b.files(o))
	case "tar":
		return b.write(o, func(w io.Writer) error { return export.Tar(ctx, w, results, b.files(o)) })
	}
	return b.archive(ctx, o, results, m)
}

// files are the options of an output that is files.
func (b *build) files(o *destination) export.FilesOptions {
	return export.FilesOptions{
		DataRoot: b.Env.DataRoot, Split: isTrue(o.attrs["platform-split"]) || len(b.platforms) > 1, Attest: b.attestTo(o.kind), Prefix: o.attrs["attestation-prefix"], Events: b.sink,
	}
}

// store makes an image of the store, and names it.
func (b *build) store(ctx context.Context, o *destination, r *solve.Result, m *made) error {
	if len(b.annotations) > 0 && !o.push {
		b.warn("--annotation: an image in the store has no manifest to annotate; --output type=oci writes one")
	}
	img, err := export.Image(ctx, r, export.ImageOptions{
		DataRoot: b.Env.DataRoot, Names: b.tags, Rewrite: isTrue(o.attrs["rewrite-timestamp"]), Events: b.sink,
		Parent: b.above(r), Inline: b.wants(isInline), Attest: b.attestTo(o.kind),
	})
	if err != nil {
		return err
	}
	m.id, m.digest, m.stored = img.ID, img.ID, true
	for _, n := range b.tags {
		b.Emit("tag", string(img.ID), n.Familiar())
	}
	return nil
}

// above is the image of the last step, if the steps have images.
func (b *build) above(r *solve.Result) oci.Digest {
	if b.mode != printer.Classic {
		return ""
	}
	return b.parent(r.State)
}

// archive writes the image as a tar, or as a layout with tar=false.
func (b *build) archive(ctx context.Context, o *destination, results []*solve.Result, m *made) error {
	a := export.ArchiveOptions{
		DataRoot: b.Env.DataRoot, Names: b.tags, Docker: o.kind == "docker", Rewrite: isTrue(o.attrs["rewrite-timestamp"]),
		Manifest: b.manifestAnnotations(o), Inline: b.wants(isInline), Attest: b.attestTo(o.kind), Events: b.sink,
	}
	p, err := packed(o)
	if err != nil {
		return err
	}
	a.Compression, a.Level = p.Compression, p.Level
	var written export.Written
	if o.attrs["tar"] == "false" {
		written, err = export.Layout(ctx, o.dest, results, a)
	} else {
		err = b.write(o, func(w io.Writer) (err error) {
			written, err = export.Archive(ctx, w, results, a)
			return err
		})
	}
	if err != nil {
		return err
	}
	m.digest = written.Descriptor.Digest
	switch {
	case m.id != "":
	case len(written.Configs) == 1:
		m.id = written.Configs[0]
	default: // as buildx: of several platforms the index is the image
		m.id, m.index = written.Descriptor.Digest, true
	}
	return nil
}

// packed reads how layers are to be packed.
func packed(o *destination) (p packing.Options, err error) {
	if p.Compression, err = packing.ParseCompression(o.attrs["compression"]); err != nil {
		return p, err
	}
	if level := o.attrs["compression-level"]; level != "" {
		if p.Level, err = strconv.Atoi(level); err != nil {
			return p, errdefs.New(errdefs.InvalidArgument, "invalid compression-level %q", level)
		}
	}
	return p, nil
}

// write gives an archive to its file or to standard output.
func (b *build) write(o *destination, produce func(io.Writer) error) error {
	if !o.toStdout() {
		return atomicfile.Output(o.dest, produce)
	}
	if streams.Terminal(b.Env.Out) != nil {
		return errdefs.New(errdefs.InvalidArgument, "dest file is required for %s output: standard output is a terminal", o.kind).
			WithHint("add dest=FILE, or send standard output somewhere")
	}
	return produce(b.Env.Out)
}

func isTrue(s string) bool {
	v, err := strconv.ParseBool(s)
	return err == nil && v
}

// record writes --iidfile and --metadata-file.
func (b *build) record(m *made) error {
	if b.iidFile != "" && m.id != "" {
		if err := os.WriteFile(b.iidFile, []byte(m.id), 0o666); err != nil {
			return err
		}
	}
	if b.metadataFile == "" {
		return nil
	}
	about := map[string]any{}
	if m.id != "" {
		if !m.index {
			about["containerimage.config.digest"] = m.id
		}
		about["containerimage.digest"] = m.digest
	}
	if len(b.tags) > 0 {
		names := make([]string, len(b.tags))
		for i, n := range b.tags {
			names[i] = n.String()
		}
		about["image.name"] = strings.Join(names, ",")
	}
	text, err := json.MarshalIndent(about, "", "  ")
	if err != nil {
		return err
	}
	return errdefs.Wrap(atomicfile.Write(b.metadataFile, append(text, '\n'), 0o644, atomicfile.Atomic), "write", b.metadataFile)
}

// stdoutTaken reports whether an output goes to standard output.
func (b *build) stdoutTaken() bool {
	for i := range b.outputs {
		if b.outputs[i].toStdout() {
			return true
		}
	}
	return false
}
