package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/build/cache"
	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/units"
)

// NewBuilder is `berth builder`: what builds remember.
func NewBuilder(h *Host) *cobra.Command {
	cmd := &cobra.Command{
		Use: "builder", Aliases: []string{"buildx"}, Short: "Build images, manage what builds remember",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &command.UsageError{Path: "berth builder", Err: fmt.Errorf("unknown command: berth builder %s", args[0])}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newDu(h.Env), newMounts(h.Env), newPrune(h.Env))
	return cmd
}

type pruneOptions struct {
	all, force bool
	filters    flagvalue.Filters
	keep       flagvalue.Bytes
}

func newPrune(env *command.Env) *cobra.Command {
	var o pruneOptions
	cmd := &cobra.Command{
		Use: "prune [OPTIONS]", DisableFlagsInUseLine: true, Short: "Remove what builds remember",
		Example: "  berth builder prune\n  berth builder prune -a --filter until=24h\n  berth builder prune --max-used-space 2g",
		Args:    command.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), env) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Also what images use")
	fs.BoolVarP(&o.force, "force", "f", false, "Do not ask")
	fs.Var(&o.filters, "filter", "Select, as until=24h, type=regular, id=1a2b")
	fs.Var(&o.keep, "max-used-space", "Remove only until no more than this is used")
	fs.Var(&o.keep, "keep-storage", "As --max-used-space")
	fs.Var(&o.keep, "reserved-space", "As --max-used-space")
	fs.Lookup("keep-storage").Hidden, fs.Lookup("reserved-space").Hidden = true, true
	return cmd
}

func (o *pruneOptions) run(ctx context.Context, env *command.Env) error {
	match, err := matcher(o.filters, env.Now())
	if err != nil {
		return err
	}
	warning := "This will remove all dangling build cache."
	if o.all {
		warning = "This will remove all build cache."
	}
	if !o.force && !command.Confirm(env, warning) {
		return nil
	}
	gone, err := cache.Open(env.DataRoot).Prune(ctx, cache.PruneOptions{Match: match, Keep: int64(o.keep), All: o.all})
	ids := make([]string, len(gone.Items))
	for i := range gone.Items {
		ids[i] = gone.Items[i].ID
	}
	command.PrintPruned(env, "Deleted build cache objects:", ids)
	_, perr := fmt.Fprintf(env.Out, "Total reclaimed space: %s\n", units.HumanSize(float64(gone.Freed)))
	return errors.Join(err, perr)
}

type duOptions struct {
	verbose bool
	filters flagvalue.Filters
}

func newDu(env *command.Env) *cobra.Command {
	var o duOptions
	cmd := &cobra.Command{
		Use: "du [OPTIONS]", DisableFlagsInUseLine: true, Short: "Show what builds remember, and its size",
		Example: "  berth builder du\n  berth builder du --verbose --filter type=exec.cachemount",
		Args:    command.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), env) },
	}
	cmd.Flags().BoolVar(&o.verbose, "verbose", false, "Show everything that is known")
	cmd.Flags().Var(&o.filters, "filter", "Select, as until=24h, type=regular, id=1a2b")
	return cmd
}

func (o *duOptions) run(ctx context.Context, env *command.Env) error {
	match, err := matcher(o.filters, env.Now())
	if err != nil {
		return err
	}
	items, err := cache.Open(env.DataRoot).Usage(ctx)
	if err != nil {
		return err
	}
	if match != nil {
		items = slices.DeleteFunc(items, func(i cache.Item) bool { return !match(&i) })
	}
	slices.Reverse(items) // what was used last comes first
	return printUsage(env, items, o.verbose)
}

// matcher makes one question of the filters; nil selects all.
func matcher(filters flagvalue.Filters, now time.Time) (func(*cache.Item) bool, error) {
	if len(filters) == 0 {
		return nil, nil
	}
	var all []func(*cache.Item) bool
	for key, values := range filters {
		var tests []func(*cache.Item) bool
		for _, v := range values {
			test, err := filter(key, v, now)
			if err != nil {
				return nil, err
			}
			tests = append(tests, test)
		}
		all = append(all, func(i *cache.Item) bool {
			return slices.ContainsFunc(tests, func(test func(*cache.Item) bool) bool { return test(i) })
		})
	}
	return func(i *cache.Item) bool {
		return !slices.ContainsFunc(all, func(test func(*cache.Item) bool) bool { return !test(i) })
	}, nil
}

// filter is one --filter.
func filter(key, value string, now time.Time) (func(*cache.Item) bool, error) {
	yes := value != "false" && value != "0"
	switch key {
	case "until", "unused-for":
		t, err := units.ParseTime(value, now)
		if err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid filter '%s=%s': %w", key, value, err)
		}
		return func(i *cache.Item) bool { return i.LastUsed.Before(t) }, nil
	case "id":
		return func(i *cache.Item) bool { return strings.HasPrefix(i.ID, value) }, nil
	case "type":
		return func(i *cache.Item) bool { return string(i.Type) == value }, nil
	case "description":
		return func(i *cache.Item) bool { return strings.Contains(i.Text, value) }, nil
	case "inuse":
		return func(i *cache.Item) bool { return i.InUse == yes }, nil
	case "mutable":
		return func(i *cache.Item) bool { return i.Mutable == yes }, nil
	case "shared":
		return func(i *cache.Item) bool { return i.Shared == yes }, nil
	case "private":
		return func(i *cache.Item) bool { return i.Shared != yes }, nil
	}
	return nil, errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).
		WithHint("one of until, id, type, description, inuse, mutable, shared, private")
}

// short is an item's id as tables show it.
func short(i *cache.Item) string {
	id := ident.Short(i.ID)
	if i.Mutable {
		id += "*"
	}
	return id
}
