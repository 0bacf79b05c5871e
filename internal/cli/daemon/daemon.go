// Package daemon provides the command line of berthd: the verbs that bring
// images in (pull, load, import) and make them (build). They need a network
// client, decompressors, certificates and a parser, which would make each start
// of berth slower; so berth hands these verbs over to berthd by exec, and a user
// who types `berth pull` sees no difference.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/spf13/cobra"

	"berth/internal/buildinfo"
	"berth/internal/cli/command"
	"berth/internal/cli/daemon/build"
	"berth/internal/cli/streams"
	"berth/internal/container/events"
	"berth/internal/errdefs"
)

// The exit codes, as in Docker's command line.
const (
	exitFailed      = 1
	exitFlag        = 125
	exitInterrupted = 130 // 128 + SIGINT
)

// Main runs the command line args (without the program's name) on s and returns
// the exit code.
func Main(ctx context.Context, args []string, s *streams.Streams) int {
	ctx, stop := command.Interruptible(ctx)
	defer stop()
	env := command.New(s)
	log.SetOutput(io.Discard) // libraries' remarks: what matters to the user comes back as an error
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(ctx)
	var exit command.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.Code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(s.Err, "berth: interrupted; what was downloaded is kept for the next try") //nolint:errcheck // stderr is the last resort
		return exitInterrupted
	}
	command.PrintError(s.Err, err)
	var usage *command.UsageError
	if errors.As(err, &usage) && usage.Flags {
		return exitFlag
	}
	return exitFailed
}

// newRoot is the command `berthd`. Its name in messages is berth's, since that
// is what users type.
func newRoot(env *command.Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "berth",
		Short:         "The parts of berth that speak a protocol",
		Version:       buildinfo.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &command.UsageError{Path: "berthd", Err: fmt.Errorf("unknown command: berthd %s", args[0])}
			}
			return cmd.Help()
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	fs := root.PersistentFlags()
	fs.StringVar(&env.DataRoot, "data-root", env.DataRoot, "Directory of images, containers and volumes")
	fs.StringVar(&env.StateRoot, "state-root", env.StateRoot, "Directory of what need not survive a reboot")
	fs.BoolVarP(&env.Debug, "debug", "D", false, "Log everything to standard error")
	fs.StringP("log-level", "l", "", "Log to standard error: debug, info, warn, error")
	for _, hidden := range []string{"data-root", "state-root", "debug", "log-level"} {
		fs.Lookup(hidden).Hidden = true // they are berth's, and in its help
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &command.UsageError{Path: cmd.CommandPath(), Err: err, Flags: true}
	})
	host := &build.Host{
		Env: env, Pull: puller(env), Send: sender(env), Repository: repository(env), Emit: func(action, id, name string) { emit(env, action, id, name) },
	}
	root.AddCommand(newPull(env), newLoad(env), newImport(env), newSave(env), newPush(env), newLogin(env), newLogout(env), newRegistry(env), build.New(host), build.NewBuilder(host))
	return root
}

// emit writes an event of an image to the journal; nothing depends on it.
func emit(env *command.Env, action, id, name string) {
	e := events.Event{Type: "image", Action: action, ID: id, Attr: map[string]string{"name": name}}
	if err := events.Open(env.StateRoot).Append(e); err != nil && env.Debug {
		command.PrintError(env.Err, errdefs.Wrap(err, "write", "an event"))
	}
}
