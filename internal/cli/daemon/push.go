package daemon

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/build/export"
	"berth/internal/cli/command"
	"berth/internal/cli/daemon/progress"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/packing"
	"berth/internal/image/registry"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/reference"
)

type pushOptions struct {
	env         *command.Env
	name        string
	all         bool
	quiet       bool
	insecure    bool
	untrusted   bool // --disable-content-trust, which asks for what is done anyway
	platform    string
	compression string
	level       int
	parallel    int
}

func newPush(env *command.Env) *cobra.Command {
	o := &pushOptions{env: env}
	cmd := &cobra.Command{
		Use:                   "push [OPTIONS] NAME[:TAG]",
		DisableFlagsInUseLine: true,
		Short:                 "Upload an image to a registry",
		Example:               "  berth push registry.example.com/team/app:1\n  berth push --all-tags localhost:5000/team/app",
		Args:                  command.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return o.run(cmd.Context(), cmd.Flags().Changed("compression") || cmd.Flags().Changed("compression-level"))
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all-tags", "a", false, "Upload all tags of the repository")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Print the image's name only")
	fs.StringVar(&o.platform, "platform", "", "Platform that the image must be for (os/arch[/variant])")
	fs.BoolVar(&o.insecure, "insecure", false, "Allow plain HTTP and unknown certificates")
	fs.StringVar(&o.compression, "compression", "gzip", "How layers are packed: gzip, zstd, uncompressed")
	fs.IntVar(&o.level, "compression-level", 0, "How hard; 0 is the compression's default")
	fs.IntVar(&o.parallel, "max-concurrent-uploads", transfer.DefaultParallelPush, "Layers to send at once")
	fs.BoolVar(&o.untrusted, "disable-content-trust", true, "Skip image signing (there is none)")
	return cmd
}

func (o *pushOptions) run(ctx context.Context, packed bool) error {
	name, err := reference.ParseExact(o.name)
	if err != nil {
		return err
	}
	switch {
	case name.Digest() != "":
		return errdefs.New(errdefs.InvalidArgument, "cannot push a digest reference").WithHint("name a tag: berth push %s", name.Repository().Familiar())
	case o.all && !name.IsNameOnly():
		return errdefs.New(errdefs.InvalidArgument, "tag can't be used with --all-tags/-a")
	}
	opt := transfer.PushOptions{}
	if opt.Platform, err = parsePlatform(o.platform); err != nil {
		return err
	}
	opt.Packing.Level, opt.Repack = o.level, packed
	if opt.Packing.Compression, err = packing.ParseCompression(o.compression); err != nil {
		return err
	}
	names := []reference.Named{name}
	s := transfer.New(o.env.DataRoot, o.parallel)
	p := newPrinter(o.env.Out)
	say := func(string) {}
	if !o.quiet {
		opt.Report, say = p.Event, p.Line
	}
	switch {
	case o.all:
		if names, err = s.Tags(name); err != nil {
			return err
		}
		if len(names) == 0 {
			return errdefs.New(errdefs.NotFound, "An image does not exist locally with the tag: %s", name.FamiliarName()).WithHint("list the images with: berth image ls")
		}
	case name.IsNameOnly():
		say("Using default tag: " + reference.DefaultTag)
		if names[0], err = name.WithTag(reference.DefaultTag); err != nil {
			return err
		}
	}
	say("The push refers to repository [" + name.Name() + "]")
	err = o.push(ctx, s, p, names, opt)
	p.Close()
	if err == nil && o.quiet {
		p.Line(name.String())
	}
	return err
}

// push sends the images, which are of one repository.
func (o *pushOptions) push(ctx context.Context, s *transfer.Store, p *progress.Printer, names []reference.Named, opt transfer.PushOptions) error {
	var on *progress.Printer
	if !o.quiet {
		on = p
	}
	dst, err := o.open(ctx, names[0], notice(o.env, on))
	if err != nil {
		return err
	}
	for _, n := range names {
		got, err := s.Push(ctx, dst, n, opt)
		if err != nil {
			return err
		}
		if !o.quiet {
			p.Line(fmt.Sprintf("%s: digest: %s size: %d", n.Tag(), got.Descriptor.Digest, got.Descriptor.Size))
		}
		emit(o.env, "push", n.Familiar(), n.FamiliarName())
	}
	return nil
}

// open connects to the registry that the name is of: never to a mirror.
func (o *pushOptions) open(ctx context.Context, name reference.Named, say func(string)) (*registry.Repository, error) {
	ro, err := registryOptions(o.env, o.insecure)
	if err != nil {
		return nil, err
	}
	ro.Notice = say
	return registry.Open(ctx, name, ro)
}

// sender pushes for the other verbs.
func sender(env *command.Env) export.Send {
	return func(ctx context.Context, names []reference.Named, images []transfer.Outgoing, lease *catalog.Lease, opt transfer.PushOptions) (oci.Descriptor, error) {
		o := &pushOptions{env: env}
		dst, err := o.open(ctx, names[0], notice(env, nil))
		if err != nil {
			return oci.Descriptor{}, err
		}
		d, err := transfer.New(env.DataRoot, transfer.DefaultParallelPush).PushAll(ctx, dst, names, images, lease, opt)
		if err == nil {
			for _, n := range names {
				emit(env, "push", n.Familiar(), n.FamiliarName())
			}
		}
		return d, err
	}
}
