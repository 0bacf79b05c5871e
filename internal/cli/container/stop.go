package container

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/engine"
)

// stopOptions are the flags of stop and restart.
type stopOptions struct {
	signal  string
	timeout int
	time    int // the flag's name in older scripts
}

func (o *stopOptions) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&o.signal, "signal", "s", "", "Signal to send (default: the container's own, else SIGTERM)")
	fs.IntVarP(&o.timeout, "timeout", "t", 0, "Seconds until SIGKILL; -1: never (default: the container's own, else 10)")
	fs.IntVar(&o.time, "time", 0, "Same as --timeout")
	fs.Lookup("time").Hidden = true
}

// stop returns the engine's options; nil is the container's own timeout.
func (o *stopOptions) stop(cmd *cobra.Command) (engine.StopOptions, error) {
	so := engine.StopOptions{Signal: o.signal}
	timeout, old := cmd.Flags().Changed("timeout"), cmd.Flags().Changed("time")
	switch {
	case timeout && old:
		return so, &command.UsageError{Path: cmd.CommandPath(), Err: fmt.Errorf("conflicting options: cannot specify both --timeout and --time")}
	case timeout:
		so.Timeout = &o.timeout
	case old:
		so.Timeout = &o.time
	}
	return so, nil
}

// NewStop is `berth stop`.
func NewStop(env *command.Env) *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:               "stop [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Ask containers to end, and kill those that do not",
		Example:           "berth stop web\nberth stop -t 30 db",
		Args:              command.AtLeast(1),
		ValidArgsFunction: completeContainers(env, running),
	}
	o.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		so, err := o.stop(cmd)
		if err != nil {
			return err
		}
		return stop(cmd.Context(), env, so, args)
	}
	return cmd
}

func stop(ctx context.Context, env *command.Env, o engine.StopOptions, refs []string) error {
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := command.Interruptible(ctx)
	defer cancel()
	return command.Each(env, refs, func(ref string) (string, error) {
		res, err := e.Containers.Stop(ctx, ref, o)
		if err == nil && res.Note != "" {
			fmt.Fprintf(env.Err, "berth: %s: %s\n", ref, res.Note) //nolint:errcheck // stderr is the last resort
		}
		return ref, err
	})
}

// NewRestart is `berth restart`.
func NewRestart(env *command.Env) *cobra.Command {
	var o stopOptions
	cmd := &cobra.Command{
		Use:               "restart [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Stop containers and start them again",
		Example:           "berth restart web",
		Args:              command.AtLeast(1),
		ValidArgsFunction: completeContainers(env, anyState),
	}
	o.bind(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		so, err := o.stop(cmd)
		if err != nil {
			return err
		}
		e, err := env.Open(cmd.Context())
		if err != nil {
			return err
		}
		return command.Each(env, args, func(ref string) (string, error) {
			return ref, e.Containers.Restart(cmd.Context(), ref, so)
		})
	}
	return cmd
}
