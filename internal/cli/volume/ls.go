package volume

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/cli/output"
	"berth/internal/engine"
)

type lsOptions struct {
	quiet   bool
	filters flagvalue.Filters
	format  string
}

// NewLs is `berth volume ls`.
func NewLs(env *command.Env) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List volumes",
		Example: "berth volume ls --filter dangling=true",
		Args:    command.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return ls(cmd.Context(), env, &o) },
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Only names")
	fs.VarP(&o.filters, "filter", "f", "Select, as dangling=true, name=data, label=a=b")
	fs.StringVar(&o.format, "format", "", output.FormatUsage)
	return cmd
}

func ls(ctx context.Context, env *command.Env, o *lsOptions) error {
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	list, err := e.Volumes.List(ctx, engine.Filters(o.filters))
	if err != nil {
		return err
	}
	rows := make([]volumeRow, len(list))
	for i := range list {
		rows[i] = volumeRow{&list[i]}
	}
	format := output.Format(o.format)
	if o.quiet && format.IsDefault() {
		return output.IDs(env.Out, func(yield func(string) bool) {
			for _, r := range rows {
				if !yield(r.Name()) {
					return
				}
			}
		})
	}
	columns := []output.Column[volumeRow]{{Heading: "DRIVER", Value: volumeRow.Driver}, {Heading: "VOLUME NAME", Value: volumeRow.Name}}
	headings := output.Headings{
		"Driver": "DRIVER", "Name": "VOLUME NAME", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
		"Links": "LINKS", "Size": "SIZE", "Availability": "AVAILABILITY", "Group": "GROUP", "Status": "STATUS",
	}
	return output.List(env.Out, format, columns, headings, rows)
}

// volumeRow is a row of volume ls; its methods are the fields of templates.
type volumeRow struct{ v *engine.VolumeInfo }

// MarshalJSON has all fields.
func (r volumeRow) MarshalJSON() ([]byte, error) { return output.RowJSON(r) }

// Driver is the driver's name.
func (r volumeRow) Driver() string { return r.v.Driver }

// Name is the volume's name.
func (r volumeRow) Name() string { return r.v.Name }

// Scope is "local".
func (r volumeRow) Scope() string { return r.v.Scope }

// Mountpoint is its directory on the host.
func (r volumeRow) Mountpoint() string { return r.v.Mountpoint }

// Labels are all labels.
func (r volumeRow) Labels() string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(r.v.Labels)) {
		list = append(list, k+"="+r.v.Labels[k])
	}
	return strings.Join(list, ",")
}

// Label is one label's value.
func (r volumeRow) Label(name string) string { return r.v.Labels[name] }

// Links and the next are not computed by ls.
func (r volumeRow) Links() string { return notComputed }

// Size is not computed by ls.
func (r volumeRow) Size() string { return notComputed }

// Availability is a property of cluster volumes.
func (r volumeRow) Availability() string { return notComputed }

// Group is a property of cluster volumes.
func (r volumeRow) Group() string { return notComputed }

// Status is a property of cluster volumes.
func (r volumeRow) Status() string { return notComputed }

const notComputed = "N/A"
