package image

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/output"
	"berth/internal/engine"
	"berth/internal/units"
)

type historyOptions struct {
	human, noTrunc, quiet bool
	format                string
}

// NewHistory is `berth history`.
func NewHistory(env *command.Env) *cobra.Command {
	var o historyOptions
	cmd := &cobra.Command{
		Use:               "history [OPTIONS] IMAGE",
		Short:             "List the steps that made an image, newest first",
		Example:           "berth history --no-trunc web",
		Args:              command.Exactly(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return history(cmd.Context(), env, &o, args[0]) },
		ValidArgsFunction: completeImages(env),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.human, "human", "H", true, "Sizes and times in words")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten the output")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Only ids")
	fs.StringVar(&o.format, "format", "", output.FormatUsage)
	return cmd
}

func history(ctx context.Context, env *command.Env, o *historyOptions, ref string) error {
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	list, err := e.Images.History(ctx, ref)
	if err != nil {
		return err
	}
	rows := make([]historyRow, len(list))
	for i := range list {
		rows[i] = historyRow{&list[i], env.Now(), o.human, !o.noTrunc}
	}
	if o.quiet && output.Format(o.format).IsDefault() {
		return output.IDs(env.Out, func(yield func(string) bool) {
			for _, r := range rows {
				if !yield(r.ID()) {
					return
				}
			}
		})
	}
	return output.List(env.Out, output.Format(o.format), historyColumns(o.human), historyHeadings(), rows)
}

func historyColumns(human bool) []output.Column[historyRow] {
	created := output.Column[historyRow]{Heading: "CREATED", Value: historyRow.CreatedSince}
	if !human {
		created = output.Column[historyRow]{Heading: "CREATED AT", Value: historyRow.CreatedAt}
	}
	return []output.Column[historyRow]{
		{Heading: "IMAGE", Value: historyRow.ID}, created,
		{Heading: "CREATED BY", Value: historyRow.CreatedBy},
		{Heading: "SIZE", Value: historyRow.Size},
		{Heading: "COMMENT", Value: historyRow.Comment},
	}
}

func historyHeadings() output.Headings {
	return output.Headings{
		"ID": "IMAGE", "CreatedSince": "CREATED", "CreatedAt": "CREATED AT", "CreatedBy": "CREATED BY", "Size": "SIZE", "Comment": "COMMENT",
	}
}

// createdByWidth is the width to which history shortens a step.
const createdByWidth = 45

// historyRow is a row of history; its methods are the fields of templates.
type historyRow struct {
	h            *engine.HistoryRow
	now          time.Time
	human, trunc bool
}

// MarshalJSON has all fields.
func (r historyRow) MarshalJSON() ([]byte, error) { return output.RowJSON(r) }

// ID is the image's id, or "<missing>" for a step that is no image here.
func (r historyRow) ID() string {
	if r.h.ID == "<missing>" {
		return r.h.ID
	}
	return output.ShortID(r.h.ID, r.trunc)
}

// CreatedSince is how long ago the step ran.
func (r historyRow) CreatedSince() string {
	if !r.human {
		return r.CreatedAt()
	}
	if r.h.Created.IsZero() {
		return "N/A"
	}
	return units.HumanDuration(r.now.Sub(r.h.Created)) + " ago"
}

// CreatedAt is when the step ran.
func (r historyRow) CreatedAt() string {
	if r.h.Created.IsZero() {
		return "N/A"
	}
	return r.h.Created.Local().Format(time.RFC3339)
}

// CreatedBy is the step itself.
func (r historyRow) CreatedBy() string {
	by := strings.ReplaceAll(r.h.CreatedBy, "\t", " ")
	if r.trunc {
		by = output.Ellipsis(by, createdByWidth)
	}
	return by
}

// Size is what the step added.
func (r historyRow) Size() string {
	if !r.human {
		return strconv.FormatInt(r.h.Size, 10)
	}
	return units.FormatBytes1000(float64(r.h.Size))
}

// Comment is the step's comment.
func (r historyRow) Comment() string { return r.h.Comment }
