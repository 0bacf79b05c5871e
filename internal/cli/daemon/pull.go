package daemon

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/internal/cli/command"
	"berth/internal/cli/daemon/build"
	"berth/internal/cli/daemon/progress"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/image/registry"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/reference"
)

type pullOptions struct {
	env      *command.Env
	name     string
	all      bool
	quiet    bool
	insecure bool
	forRun   bool // `berth run` shows the steps only, as Docker's does
	platform string
	parallel int
}

func newPull(env *command.Env) *cobra.Command {
	o := &pullOptions{env: env}
	cmd := &cobra.Command{
		Use:                   "pull [OPTIONS] NAME[:TAG|@DIGEST]",
		DisableFlagsInUseLine: true,
		Short:                 "Download an image from a registry",
		Example:               "  berth pull alpine:3.22\n  berth pull --platform linux/arm64 localhost:5000/team/app",
		Args:                  command.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.name = args[0]
			return o.run(cmd.Context())
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all-tags", "a", false, "Download all tagged images in the repository")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Print the image's name only")
	fs.StringVar(&o.platform, "platform", "", "Platform to take of an image for several (os/arch[/variant])")
	fs.BoolVar(&o.insecure, "insecure", false, "Allow plain HTTP and unknown certificates")
	fs.BoolVar(&o.forRun, "for-run", false, "Print the steps only")
	fs.Lookup("for-run").Hidden = true
	fs.IntVar(&o.parallel, "max-concurrent-downloads", transfer.DefaultParallel, "Layers to fetch at once")
	return cmd
}

func (o *pullOptions) run(ctx context.Context) error {
	name, err := reference.ParseExact(o.name)
	if err != nil {
		return err
	}
	if o.all && !name.IsNameOnly() {
		return errdefs.New(errdefs.InvalidArgument, "tag can't be used with --all-tags/-a")
	}
	opt := transfer.PullOptions{}
	if opt.Platform, err = parsePlatform(o.platform); err != nil {
		return err
	}
	p := newPrinter(o.env.Out)
	if !o.quiet {
		opt.Report = p.Event
	}
	var on *progress.Printer
	if !o.quiet {
		on = p
	}
	src, err := o.open(name, notice(o.env, on))
	if err != nil {
		return err
	}
	var newer bool
	if o.all {
		newer, err = o.pullAll(ctx, src, name, opt)
	} else {
		if name.IsNameOnly() {
			if !o.quiet && !o.forRun {
				p.Line("Using default tag: " + reference.DefaultTag)
			}
			if name, err = name.WithTag(reference.DefaultTag); err != nil {
				return err
			}
		}
		newer, err = o.pull(ctx, src, name, opt)
	}
	p.Close()
	if err != nil {
		return err
	}
	if !o.quiet {
		status := "Image is up to date for"
		if newer {
			status = "Downloaded newer image for"
		}
		p.Line("Status: " + status + " " + name.Familiar())
	}
	if !o.forRun {
		p.Line(name.String())
	}
	return nil
}

// open returns the hosts that serve the repository.
func (o *pullOptions) open(name reference.Named, say func(string)) (*registry.Source, error) {
	ro, err := registryOptions(o.env, o.insecure)
	if err != nil {
		return nil, err
	}
	ro.Notice = say
	return registry.OpenSource(name, ro)
}

func (o *pullOptions) pull(ctx context.Context, src transfer.Source, name reference.Named, opt transfer.PullOptions) (newer bool, err error) {
	got, err := transfer.New(o.env.DataRoot, o.parallel).Pull(ctx, src, name, opt)
	if err != nil {
		return false, err
	}
	emit(o.env, "pull", name.Familiar(), name.FamiliarName())
	return got.Newer, nil
}

// puller pulls for the other verbs.
func puller(env *command.Env) build.Pull {
	return func(ctx context.Context, name reference.Named, opt transfer.PullOptions) (transfer.Pulled, error) {
		o := &pullOptions{env: env}
		var say func(string) // a build's progress leaves no room on a terminal
		if streams.Terminal(env.Err) == nil {
			say = notice(env, nil)
		}
		src, err := o.open(name, say)
		if err != nil {
			return transfer.Pulled{}, err
		}
		got, err := transfer.New(env.DataRoot, 0).Pull(ctx, src, name, opt)
		if err == nil {
			emit(env, "pull", name.Familiar(), name.FamiliarName())
		}
		return got, err
	}
}

func (o *pullOptions) pullAll(ctx context.Context, src transfer.Source, name reference.Named, opt transfer.PullOptions) (newer bool, err error) {
	tags, err := src.Tags(ctx)
	if err != nil {
		return false, err
	}
	if len(tags) == 0 {
		return false, errdefs.New(errdefs.NotFound, "repository %s has no tags", name.Familiar())
	}
	for _, t := range tags {
		tagged, err := name.WithTag(t)
		if err != nil {
			return newer, err
		}
		n, err := o.pull(ctx, src, tagged, opt)
		if err != nil {
			return newer, fmt.Errorf("%s: %w", tagged.Familiar(), err)
		}
		newer = newer || n
	}
	return newer, nil
}

// newPrinter draws on a terminal and prints plain lines elsewhere.
func newPrinter(out any) *progress.Printer {
	w, _ := out.(interface{ Write([]byte) (int, error) })
	f := streams.Terminal(out)
	if f == nil {
		return progress.New(w, nil)
	}
	return progress.New(w, func() (int, int) {
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 80, 24
		}
		return width, height
	})
}

// parsePlatform reads a --platform flag; nil if it was not given.
func parsePlatform(s string) (*oci.Platform, error) {
	if s == "" {
		return nil, nil
	}
	p, err := oci.ParsePlatform(s)
	return &p, err
}
