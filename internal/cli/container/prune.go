package container

import (
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/engine"
	"berth/internal/units"
)

// NewPrune is `berth container prune`.
func NewPrune(env *command.Env) *cobra.Command {
	var force bool
	var filters flagvalue.Filters
	cmd := &cobra.Command{
		Use:     "prune [OPTIONS]",
		Short:   "Remove all containers that do not run",
		Example: "berth container prune -f --filter until=24h",
		Args:    command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force && !command.Confirm(env, "This will remove all stopped containers.") {
				return nil
			}
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			ids, freed, err := e.Containers.Prune(cmd.Context(), engine.Filters(filters))
			command.PrintPruned(env, "Deleted Containers:", ids)
			fmt.Fprintf(env.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(freed))) //nolint:errcheck // a closed pipe ends the process
			return err
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Do not ask")
	cmd.Flags().Var(&filters, "filter", "Select, as until=24h, label=a=b")
	return cmd
}
