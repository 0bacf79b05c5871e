package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/atomicfile"
	"berth/internal/build/cache"
	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// newMounts is `berth builder mounts`: the directories of RUN --mount=type=cache,
// to be taken to another machine.
func newMounts(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use: "mounts", Short: "Take cache mounts to another machine",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &command.UsageError{Path: "berth builder mounts", Err: fmt.Errorf("unknown command: berth builder mounts %s", args[0])}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newMountsExport(env), newMountsImport(env))
	return cmd
}

func newMountsExport(env *command.Env) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use: "export [OPTIONS] [MOUNT...]", DisableFlagsInUseLine: true, Short: "Write cache mounts to an archive",
		Example: "  berth builder mounts export -o mounts.tar\n  berth builder mounts export /root/.cache/go-build | ssh host berth builder mounts import -",
		RunE:    func(cmd *cobra.Command, args []string) error { return exportMounts(cmd.Context(), env, output, args) },
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "Write to this file instead of standard output")
	return cmd
}

// exportMounts writes the mounts that are named by the id that the Dockerfile
// gives them (its target, if it gives none) or the ID of du; all if none is named.
func exportMounts(ctx context.Context, env *command.Env, output string, wanted []string) error {
	met := map[string]bool{}
	match := func(name, id string) bool {
		is := func(w string) bool {
			return w == id || len(w) >= ident.ShortLen && strings.HasPrefix(name, strings.TrimSuffix(w, "*"))
		}
		for _, w := range wanted {
			if is(w) {
				met[w] = true
			}
		}
		return len(wanted) == 0 || slices.ContainsFunc(wanted, is)
	}
	write := func(w io.Writer) error {
		_, err := cache.Open(env.DataRoot).ExportMounts(ctx, w, match)
		for _, w := range wanted {
			if err == nil && !met[w] {
				err = errdefs.New(errdefs.NotFound, "no such cache mount: %s", w).WithHint("list them with: berth builder du --filter type=exec.cachemount --verbose")
			}
		}
		return err
	}
	switch {
	case output != "" && output != "-":
		return errdefs.Wrap(atomicfile.Output(output, write), "write", output)
	case streams.Terminal(env.Out) != nil:
		return &command.UsageError{Path: "berth builder mounts export", Err: errors.New("cowardly refusing to write an archive to a terminal"), Hint: "name a file with -o, or send standard output somewhere"}
	}
	return write(env.Out)
}

func newMountsImport(env *command.Env) *cobra.Command {
	replace := false
	cmd := &cobra.Command{
		Use: "import [OPTIONS] FILE|-", DisableFlagsInUseLine: true, Short: "Read cache mounts from an archive",
		Example: "  berth builder mounts import mounts.tar\n  zstd -dc mounts.tar.zst | berth builder mounts import --replace -",
		Args:    command.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return importMounts(cmd.Context(), env, args[0], replace)
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "Replace those that are here")
	return cmd
}

func importMounts(ctx context.Context, env *command.Env, input string, replace bool) error {
	in := streams.Interruptible(ctx, env.In)
	switch {
	case input != "-":
		f, err := os.Open(input)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	case streams.Terminal(env.In) != nil:
		return &command.UsageError{Path: "berth builder mounts import", Err: errors.New("standard input is a terminal"), Hint: "name a file, or pipe an archive in"}
	}
	all, err := cache.Open(env.DataRoot).ImportMounts(ctx, in, replace)
	for _, m := range all {
		what := "Imported"
		if m.Kept {
			what = "Kept (it is here already; --replace takes the other)"
		}
		if _, err := fmt.Fprintf(env.Out, "%s: %s %s\n", what, ident.Short(m.Name), m.ID); err != nil {
			return err
		}
	}
	return errdefs.Wrap(err, "import", input)
}
