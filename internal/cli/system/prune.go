package system

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/engine"
	"berth/internal/units"
)

type pruneOptions struct {
	all, force, volumes bool
	filters             flagvalue.Filters
}

// NewPrune is `berth system prune`.
func NewPrune(env *command.Env) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use:     "prune [OPTIONS]",
		Short:   "Remove what nothing uses",
		Example: "berth system prune -f\nberth system prune -a --volumes",
		Args:    command.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return prune(cmd.Context(), env, &o) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "All images no container uses, not only those without a name")
	fs.BoolVarP(&o.force, "force", "f", false, "Do not ask")
	fs.BoolVar(&o.volumes, "volumes", false, "Also anonymous volumes")
	fs.Var(&o.filters, "filter", "Select, as until=24h, label=a=b")
	return cmd
}

func (o *pruneOptions) warning() string {
	text := "This will remove:\n  - all stopped containers\n"
	if o.volumes {
		text += "  - all anonymous volumes not used by at least one container\n"
	}
	if o.all {
		return text + "  - all images without at least one container associated to them\n  - all build cache\n"
	}
	return text + "  - all dangling images\n  - unused build cache\n"
}

// prune goes from users to what they use: containers, volumes, images, and the
// build cache, which then no longer shares its layers with those images. What
// fails does not keep the rest from being removed.
func prune(ctx context.Context, env *command.Env, o *pruneOptions) error {
	if !o.force && !command.Confirm(env, o.warning()) {
		return nil
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	filters := engine.Filters(o.filters)
	ids, total, err := e.Containers.Prune(ctx, filters)
	errs := []error{err}
	command.PrintPruned(env, "Deleted Containers:", ids)
	if o.volumes {
		names, freed, err := e.Volumes.Prune(ctx, false, filters)
		command.PrintPruned(env, "Deleted Volumes:", names)
		total, errs = total+freed, append(errs, err)
	}
	removed, freed, err := e.Images.Prune(ctx, o.all, filters)
	lines := make([]string, len(removed))
	for i, r := range removed {
		if lines[i] = "untagged: " + r.Untagged; r.Deleted != "" {
			lines[i] = "deleted: " + r.Deleted
		}
	}
	command.PrintPruned(env, "Deleted Images:", lines)
	errs, total = append(errs, err), total+freed
	cached, freed, err := e.System.PruneBuildCache(ctx, o.all, filters)
	command.PrintPruned(env, "Deleted build cache objects:", cached)
	_, perr := fmt.Fprintf(env.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(total+freed)))
	return errors.Join(append(errs, err, perr)...)
}
