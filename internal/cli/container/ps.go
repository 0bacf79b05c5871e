package container

import (
	"context"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/cli/output"
	"berth/internal/engine"
)

type psOptions struct {
	all, latest, noTrunc, quiet, size bool
	last                              int
	filters                           flagvalue.Filters
	format                            string
}

// NewPs is `berth ps`.
func NewPs(env *command.Env) *cobra.Command {
	var o psOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"ps", "list"},
		Short:   "List containers",
		Example: "berth ps -a\nberth ps -q --filter status=exited\nberth ps --format '{{.Names}}: {{.Status}}'",
		Args:    command.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return ps(cmd.Context(), env, &o) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Also containers that do not run")
	fs.BoolVarP(&o.latest, "latest", "l", false, "Only the newest, whatever its state")
	fs.IntVarP(&o.last, "last", "n", -1, "Only the newest n, whatever their state")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten the output")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Only ids")
	fs.BoolVarP(&o.size, "size", "s", false, "Also sizes")
	fs.VarP(&o.filters, "filter", "f", "Select, as status=running, name=web, label=a=b, ancestor=IMAGE")
	fs.StringVar(&o.format, "format", "", output.FormatUsage)
	return cmd
}

func ps(ctx context.Context, env *command.Env, o *psOptions) error {
	format := output.Format(o.format)
	lo := engine.ListOptions{All: o.all, Filters: engine.Filters(o.filters), Size: o.size || !o.quiet && format.Uses(".Size")}
	switch {
	case o.latest:
		lo.Last = 1
	case o.last > 0:
		lo.Last = o.last
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	list, err := e.Containers.List(ctx, lo)
	if err != nil {
		return err
	}
	rows := make([]psRow, len(list))
	for i := range list {
		rows[i] = psRow{&list[i], env.Now(), !o.noTrunc}
	}
	if o.quiet && format.IsDefault() {
		return output.IDs(env.Out, rowIDs(rows))
	}
	columns := psColumns()
	if o.size {
		columns = append(columns, output.Column[psRow]{Heading: "SIZE", Value: psRow.Size})
	}
	return output.List(env.Out, format, columns, psHeadings(), rows)
}

func rowIDs(rows []psRow) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, r := range rows {
			if !yield(r.ID()) {
				return
			}
		}
	}
}

func psColumns() []output.Column[psRow] {
	return []output.Column[psRow]{
		{Heading: "CONTAINER ID", Value: psRow.ID},
		{Heading: "IMAGE", Value: psRow.Image},
		{Heading: "COMMAND", Value: psRow.Command},
		{Heading: "CREATED", Value: psRow.RunningFor},
		{Heading: "STATUS", Value: psRow.Status},
		{Heading: "PORTS", Value: psRow.Ports},
		{Heading: "NAMES", Value: psRow.Names},
	}
}

func psHeadings() output.Headings {
	return output.Headings{
		"ID": "CONTAINER ID", "Names": "NAMES", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT",
		"RunningFor": "CREATED", "Ports": "PORTS", "State": "STATE", "Status": "STATUS", "Size": "SIZE",
		"Labels": "LABELS", "Mounts": "MOUNTS", "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS",
	}
}

// joined writes labels as "a=b,c=d" in the order of their names.
func joined(labels map[string]string) string {
	list := make([]string, 0, len(labels))
	for _, k := range sortedKeys(labels) {
		list = append(list, k+"="+labels[k])
	}
	return strings.Join(list, ",")
}
