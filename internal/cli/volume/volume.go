// Package volume provides the verbs of the noun volume: directories that
// outlive the containers that use them.
package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/cli/output"
	"berth/internal/engine"
	"berth/internal/errdefs"
	"berth/internal/units"
)

// completeVolumes offers the names of volumes.
func completeVolumes(env *command.Env) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		e, err := env.Open(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		list, err := e.Volumes.List(cmd.Context(), nil)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names := make([]string, len(list))
		for i := range list {
			names[i] = list[i].Name
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// NewCreate is `berth volume create`.
func NewCreate(env *command.Env) *cobra.Command {
	var driver string
	var labels flagvalue.List
	var options flagvalue.Map
	labels.Check = flagvalue.Label
	cmd := &cobra.Command{
		Use:     "create [OPTIONS] [VOLUME]",
		Short:   "Make a volume",
		Example: "berth volume create data",
		Args:    command.AtMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if driver != "local" {
				return errdefs.New(errdefs.Unsupported, "volume driver %q: berth has \"local\"", driver)
			}
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			v, err := e.Volumes.Create(cmd.Context(), name, flagvalue.Pairs(labels.Values), options.Values)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Out, v.Name)
			return err
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&driver, "driver", "d", "local", "Driver")
	fs.Var(&labels, "label", "Set a label, KEY=VALUE")
	fs.VarP(&options, "opt", "o", "Option of the driver, KEY=VALUE")
	return cmd
}

// NewRm is `berth volume rm`.
func NewRm(env *command.Env) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "rm [OPTIONS] VOLUME [VOLUME...]",
		Aliases: []string{"remove"},
		Short:   "Remove volumes that no container uses",
		Example: "berth volume rm data",
		Args:    command.AtLeast(1),
		RunE: command.ForEach(env, func(ctx context.Context, e *engine.Engine, name string) (string, error) {
			return name, e.Volumes.Remove(ctx, name, force)
		}),
		ValidArgsFunction: completeVolumes(env),
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "No error if it does not exist")
	return cmd
}

// NewInspect is `berth volume inspect`.
func NewInspect(env *command.Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "inspect [OPTIONS] VOLUME [VOLUME...]",
		Short:   "Show volumes whole",
		Example: "berth volume inspect -f '{{.Mountpoint}}' data",
		Args:    command.AtLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			return command.Inspect(env, format, args, func(name string) (any, error) {
				v, err := e.Volumes.Inspect(cmd.Context(), name)
				return v, err
			})
		},
		ValidArgsFunction: completeVolumes(env),
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", output.InspectUsage)
	return cmd
}

// NewPrune is `berth volume prune`.
func NewPrune(env *command.Env) *cobra.Command {
	var all, force bool
	var filters flagvalue.Filters
	cmd := &cobra.Command{
		Use:     "prune [OPTIONS]",
		Short:   "Remove anonymous volumes, or with -a all, that no container uses",
		Example: "berth volume prune -f",
		Args:    command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			kind := "anonymous local volumes"
			if all {
				kind = "local volumes"
			}
			if !force && !command.Confirm(env, "This will remove "+kind+" not used by at least one container.") {
				return nil
			}
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			names, freed, err := e.Volumes.Prune(cmd.Context(), all, engine.Filters(filters))
			command.PrintPruned(env, "Deleted Volumes:", names)
			_, perr := fmt.Fprintf(env.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(freed)))
			return errors.Join(err, perr)
		},
	}
	cmd.Flags().BoolVarP(&all, "all", "a", false, "Also volumes with a name")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not ask")
	cmd.Flags().Var(&filters, "filter", "Select, as label=a=b")
	return cmd
}
