package container

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/engine"
)

// eachVerb is a verb without flags that does one thing to every container named
// and prints its name.
func eachVerb(env *command.Env, name, short string, in stateSet, act func(*engine.Containers, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:     name + " CONTAINER [CONTAINER...]",
		Short:   short,
		Example: "berth " + name + " web",
		Args:    command.AtLeast(1),
		RunE: command.ForEach(env, func(ctx context.Context, e *engine.Engine, ref string) (string, error) {
			return ref, act(e.Containers, ctx, ref)
		}),
		ValidArgsFunction: completeContainers(env, in),
	}
}

// NewPause is `berth pause`.
func NewPause(env *command.Env) *cobra.Command {
	return eachVerb(env, "pause", "Freeze all processes of containers", running, (*engine.Containers).Pause)
}

// NewUnpause is `berth unpause`.
func NewUnpause(env *command.Env) *cobra.Command {
	return eachVerb(env, "unpause", "Let the processes of paused containers go on", paused, (*engine.Containers).Unpause)
}

// NewWait is `berth wait`.
func NewWait(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "wait CONTAINER [CONTAINER...]",
		Short:   "Wait until containers end and print their exit codes",
		Example: "berth wait job",
		Args:    command.AtLeast(1),
		RunE: command.ForEach(env, func(ctx context.Context, e *engine.Engine, ref string) (string, error) {
			code, err := e.Containers.Wait(ctx, ref)
			return strconv.Itoa(code), err
		}),
		ValidArgsFunction: completeContainers(env, anyState),
	}
}

// NewKill is `berth kill`.
func NewKill(env *command.Env) *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:     "kill [OPTIONS] CONTAINER [CONTAINER...]",
		Short:   "Send a signal to the first process of containers",
		Example: "berth kill web\nberth kill -s HUP web",
		Args:    command.AtLeast(1),
		RunE: command.ForEach(env, func(ctx context.Context, e *engine.Engine, ref string) (string, error) {
			return ref, e.Containers.Kill(ctx, ref, signal)
		}),
		ValidArgsFunction: completeContainers(env, running),
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "KILL", "Signal by name or number")
	return cmd
}

// NewRm is `berth rm`.
func NewRm(env *command.Env) *cobra.Command {
	var o engine.RemoveOptions
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Aliases: []string{"remove"},
		Short:   "Remove containers",
		Example: "berth rm web\nberth rm -f -v web db",
		Args:    command.AtLeast(1),
		RunE: command.ForEach(env, func(ctx context.Context, e *engine.Engine, ref string) (string, error) {
			return ref, e.Containers.Remove(ctx, ref, o)
		}),
		ValidArgsFunction: completeContainers(env, anyState),
	}
	cmd.Flags().BoolVarP(&o.Force, "force", "f", false, "Kill it first if it runs")
	cmd.Flags().BoolVarP(&o.Volumes, "volumes", "v", false, "Also its anonymous volumes")
	return cmd
}

// NewRename is `berth rename`.
func NewRename(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "rename CONTAINER NEW_NAME",
		Short:   "Give a container another name",
		Example: "berth rename web web-old",
		Args:    command.Exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			return e.Containers.Rename(cmd.Context(), args[0], args[1])
		},
		ValidArgsFunction: completeFirst(completeContainers(env, anyState)),
	}
}
