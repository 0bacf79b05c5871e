package container

import (
	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/container"
	"berth/internal/engine"
)

// stateSet selects containers by their state for completion.
type stateSet func(container.Status) bool

func anyState(container.Status) bool  { return true }
func running(s container.Status) bool { return s == container.Running || s == container.Paused }
func paused(s container.Status) bool  { return s == container.Paused }
func stopped(s container.Status) bool { return s == container.Created || s == container.Exited }

type completer = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// completeContainers offers the names of containers in the given states.
func completeContainers(env *command.Env, in stateSet) completer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		e, err := env.Open(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		list, err := e.Containers.List(cmd.Context(), engine.ListOptions{All: true})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		for i := range list {
			if in(list[i].Status) {
				names = append(names, list[i].Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeImages offers the names of images.
func completeImages(env *command.Env) completer {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return command.ImageNames(cmd.Context(), env)
	}
}

// completeFirst offers what c offers for the first argument and files for the others.
func completeFirst(c completer) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return c(cmd, args, typed)
	}
}
