// Package image provides the verbs of the noun image: ls, inspect, rm, history,
// tag and prune, which work on the local store. The verbs that speak to a
// registry or read archives (pull, load, import, ...) are done by the sibling
// program berthd: NewSibling hands over to it.
package image

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/engine"
	"berth/internal/units"
)

func completeImages(env *command.Env) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return command.ImageNames(cmd.Context(), env)
	}
}

// NewTag is `berth tag`.
func NewTag(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short:   "Give an image one more name",
		Example: "berth tag web:latest registry.example.com/web:1.0",
		Args:    command.Exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			return e.Images.Tag(cmd.Context(), args[0], args[1])
		},
		ValidArgsFunction: completeImages(env),
	}
}

// NewRm is `berth rmi`.
func NewRm(env *command.Env) *cobra.Command {
	var force, noPrune bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] IMAGE [IMAGE...]",
		Aliases: []string{"remove"},
		Short:   "Remove images",
		Example: "berth rmi web:old\nberth image rm -f 3f2a",
		Args:    command.AtLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			failed := false
			for _, ref := range args { // one after another: they may share layers
				removed, err := e.Images.Remove(cmd.Context(), ref, force, noPrune)
				for _, line := range removedLines(removed) {
					fmt.Fprintln(env.Out, line) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
				}
				if err != nil {
					command.PrintError(env.Err, err)
					failed = true
				}
			}
			if failed {
				return command.ExitError{Code: 1}
			}
			return nil
		},
		ValidArgsFunction: completeImages(env),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Also if stopped containers use it or it has several names")
	cmd.Flags().BoolVar(&noPrune, "no-prune", false, "Keep parents without a name")
	return cmd
}

func removedLines(removed []engine.RemovedImage) []string {
	lines := make([]string, len(removed))
	for i, r := range removed {
		if lines[i] = "Untagged: " + r.Untagged; r.Deleted != "" {
			lines[i] = "Deleted: " + r.Deleted
		}
	}
	return lines
}

// NewPrune is `berth image prune`.
func NewPrune(env *command.Env) *cobra.Command {
	var all, force bool
	var filters flagvalue.Filters
	cmd := &cobra.Command{
		Use:     "prune [OPTIONS]",
		Short:   "Remove images that have no name, or with -a all that no container uses",
		Example: "berth image prune -f\nberth image prune -a",
		Args:    command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			warning := "This will remove all dangling images."
			if all {
				warning = "This will remove all images without at least one container associated to them."
			}
			if !force && !command.Confirm(env, warning) {
				return nil
			}
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			removed, freed, err := e.Images.Prune(cmd.Context(), all, engine.Filters(filters))
			command.PrintPruned(env, "Deleted Images:", pruneLines(removed))
			fmt.Fprintf(env.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(freed))) //nolint:errcheck // as in NewRm
			return err
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "All images no container uses")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not ask")
	cmd.Flags().Var(&filters, "filter", "Select, as until=24h, label=a=b")
	return cmd
}

// pruneLines has the lower case that prune, unlike rmi, prints.
func pruneLines(removed []engine.RemovedImage) []string {
	lines := make([]string, len(removed))
	for i, r := range removed {
		if lines[i] = "untagged: " + r.Untagged; r.Deleted != "" {
			lines[i] = "deleted: " + r.Deleted
		}
	}
	return lines
}
