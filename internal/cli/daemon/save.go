package daemon

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"berth/internal/atomicfile"
	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/image/transfer"
	"berth/internal/oci"
)

type saveOptions struct {
	env      *command.Env
	images   []string
	output   string
	platform string
}

func newSave(env *command.Env) *cobra.Command {
	o := &saveOptions{env: env}
	cmd := &cobra.Command{
		Use:                   "save [OPTIONS] IMAGE [IMAGE...]",
		DisableFlagsInUseLine: true,
		Short:                 "Write images to an archive",
		Example:               "  berth save -o images.tar web:1 db:2\n  berth save web | ssh host berth load",
		Args:                  command.AtLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.images = args
			return o.run(cmd.Context())
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.output, "output", "o", "", "Write to this file instead of standard output")
	fs.StringVar(&o.platform, "platform", "", "Platform that the images must be for (os/arch[/variant])")
	return cmd
}

func (o *saveOptions) run(ctx context.Context) (err error) {
	opt := transfer.SaveOptions{Images: o.images}
	if opt.Platform, err = parsePlatform(o.platform); err != nil {
		return err
	}
	var ids []oci.Digest
	save := func(w io.Writer) (err error) {
		ids, err = transfer.New(o.env.DataRoot, 0).Save(ctx, w, opt)
		return err
	}
	switch {
	case o.output != "":
		if err = checkOutput(o.output); err == nil {
			err = atomicfile.Output(o.output, save)
		}
	case streams.Terminal(o.env.Out) != nil:
		return &command.UsageError{Path: "berth save", Err: errors.New("cowardly refusing to save to a terminal"), Hint: "name a file with -o, or send standard output somewhere"}
	default:
		err = save(o.env.Out)
	}
	if err != nil {
		return err
	}
	for i, id := range ids {
		emit(o.env, "save", string(id), o.images[min(i, len(o.images)-1)])
	}
	return nil
}

// checkOutput finds out whether a file can be made at path.
func checkOutput(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errdefs.New(errdefs.InvalidArgument, "cannot write the archive: %s is a directory", path).WithHint("name a file: -o %s", filepath.Join(path, "images.tar"))
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return errdefs.New(errdefs.NotFound, "invalid output path: directory %q does not exist", dir)
	}
	return nil
}
