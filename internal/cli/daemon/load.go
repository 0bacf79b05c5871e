package daemon

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/image/transfer"
	"berth/internal/reference"
)

type loadOptions struct {
	env      *command.Env
	input    string
	quiet    bool
	platform string
}

func newLoad(env *command.Env) *cobra.Command {
	o := &loadOptions{env: env}
	cmd := &cobra.Command{
		Use:                   "load [OPTIONS]",
		DisableFlagsInUseLine: true,
		Short:                 "Read images from an archive or an OCI layout",
		Example:               "  berth load -i images.tar\n  docker save web | berth load\n  berth load -i ./oci-layout",
		Args:                  command.NoArgs,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.input, "input", "i", "", "Read from this archive or OCI layout directory instead of standard input")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Show no progress")
	fs.StringVar(&o.platform, "platform", "", "Platform to take of an image for several (os/arch[/variant])")
	return cmd
}

func (o *loadOptions) run(ctx context.Context) (err error) {
	opt := transfer.LoadOptions{}
	if opt.Platform, err = parsePlatform(o.platform); err != nil {
		return err
	}
	p := newPrinter(o.env.Out)
	if !o.quiet {
		opt.Report = p.Event
	}
	loaded, err := o.load(ctx, transfer.New(o.env.DataRoot, 0), opt)
	p.Close()
	for _, l := range loaded {
		if l.Name == (reference.Named{}) {
			p.Line("Loaded image ID: " + string(l.ID))
			emit(o.env, "load", string(l.ID), string(l.ID))
			continue
		}
		if l.Old != "" {
			p.Line("The image " + l.Name.Familiar() + " already exists, renaming the old one with ID " + string(l.Old) + " to empty string")
		}
		p.Line("Loaded image: " + l.Name.Familiar())
		emit(o.env, "load", string(l.ID), l.Name.Familiar())
	}
	return err
}

func (o *loadOptions) load(ctx context.Context, s *transfer.Store, opt transfer.LoadOptions) ([]transfer.Loaded, error) {
	if o.input == "" || o.input == "-" {
		if streams.Terminal(o.env.In) != nil {
			return nil, &command.UsageError{Path: "berth load", Err: errors.New("requested load from stdin, but stdin is empty"), Hint: "name a file with -i, or pipe an archive in"}
		}
		return s.Load(ctx, stdin(ctx, o.env.In), opt)
	}
	info, err := os.Stat(o.input)
	if err != nil {
		return nil, noFile(err)
	}
	if info.IsDir() {
		return s.LoadDir(ctx, o.input, opt)
	}
	f, err := os.Open(o.input)
	if err != nil {
		return nil, noFile(err)
	}
	defer f.Close()
	return s.Load(ctx, f, opt)
}

func noFile(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return &errdefs.Error{Kind: errdefs.NotFound, Err: err}
	}
	return err
}

// stdin returns standard input: a file as it is, since it can be read in any
// order, and anything else so that Ctrl-C ends a read of it.
func stdin(ctx context.Context, in io.Reader) io.Reader {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f
		}
	}
	return streams.Interruptible(ctx, in)
}
