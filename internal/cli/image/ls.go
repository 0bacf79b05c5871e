package image

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/cli/output"
	"berth/internal/engine"
	"berth/internal/units"
)

type lsOptions struct {
	all, digests, noTrunc, quiet bool
	filters                      flagvalue.Filters
	format                       string
}

// NewLs is `berth images`.
func NewLs(env *command.Env) *cobra.Command {
	var o lsOptions
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS] [REPOSITORY[:TAG]]",
		Aliases: []string{"list"},
		Short:   "List images",
		Example: "berth images\nberth images alpine\nberth images -q --filter dangling=true",
		Args:    command.AtMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref := ""
			if len(args) == 1 {
				ref = args[0]
			}
			return ls(cmd.Context(), env, &o, ref)
		},
		ValidArgsFunction: completeImages(env),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Also images that are only steps of others")
	fs.BoolVar(&o.digests, "digests", false, "Also digests")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten the output")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "Only ids")
	fs.VarP(&o.filters, "filter", "f", "Select, as dangling=true, reference=PATTERN, before=IMAGE, label=a=b")
	fs.StringVar(&o.format, "format", "", output.FormatUsage)
	return cmd
}

func ls(ctx context.Context, env *command.Env, o *lsOptions, ref string) error {
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	list, err := e.Images.List(ctx, ref, o.all, engine.Filters(o.filters))
	if err != nil {
		return err
	}
	format := output.Format(o.format)
	digests := o.digests || format.Uses(".Digest")
	var rows []imageRow
	for i := range list {
		rows = append(rows, imageRows(&list[i], digests, env.Now(), !o.noTrunc)...)
	}
	if o.quiet && format.IsDefault() {
		return output.IDs(env.Out, func(yield func(string) bool) {
			for _, r := range rows {
				if !yield(r.ID()) {
					return
				}
			}
		})
	}
	return output.List(env.Out, format, imageColumns(o.digests), imageHeadings(), rows)
}

func imageColumns(digests bool) []output.Column[imageRow] {
	c := []output.Column[imageRow]{{Heading: "REPOSITORY", Value: imageRow.Repository}, {Heading: "TAG", Value: imageRow.Tag}}
	if digests {
		c = append(c, output.Column[imageRow]{Heading: "DIGEST", Value: imageRow.Digest})
	}
	return append(c,
		output.Column[imageRow]{Heading: "IMAGE ID", Value: imageRow.ID},
		output.Column[imageRow]{Heading: "CREATED", Value: imageRow.CreatedSince},
		output.Column[imageRow]{Heading: "SIZE", Value: imageRow.Size})
}

func imageHeadings() output.Headings {
	return output.Headings{
		"ID": "IMAGE ID", "Repository": "REPOSITORY", "Tag": "TAG", "Digest": "DIGEST", "CreatedSince": "CREATED",
		"CreatedAt": "CREATED AT", "Size": "SIZE", "VirtualSize": "SIZE", "Containers": "CONTAINERS",
		"SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE",
	}
}

const none = "<none>"

// imageRow is one name of an image; its methods are the fields of templates.
type imageRow struct {
	s                       *engine.ImageSummary
	repository, tag, digest string
	now                     time.Time
	trunc                   bool
}

// imageRows makes a row of each tag. With digests, each digest of a tag's
// repository is a row; a repository that is known by digest alone has the tag <none>.
func imageRows(s *engine.ImageSummary, digests bool, now time.Time, trunc bool) []imageRow {
	row := func(repository, tag, digest string) imageRow { return imageRow{s, repository, tag, digest, now, trunc} }
	var rows []imageRow
	tagged := map[string]bool{}
	for _, name := range s.RepoTags {
		i := strings.LastIndexByte(name, ':')
		if i < 0 {
			continue
		}
		repository, tag := name[:i], name[i+1:]
		tagged[repository] = true
		before := len(rows)
		if digests {
			for _, d := range s.RepoDigests {
				if r, digest, _ := strings.Cut(d, "@"); r == repository {
					rows = append(rows, row(repository, tag, digest))
				}
			}
		}
		if len(rows) == before {
			rows = append(rows, row(repository, tag, none))
		}
	}
	for _, d := range s.RepoDigests {
		if r, digest, _ := strings.Cut(d, "@"); !tagged[r] {
			rows = append(rows, row(r, none, digest))
		}
	}
	if len(rows) == 0 {
		rows = append(rows, row(none, none, none))
	}
	return rows
}

// MarshalJSON has all fields.
func (r imageRow) MarshalJSON() ([]byte, error) { return output.RowJSON(r) }

// ID is the image's id.
func (r imageRow) ID() string { return output.ShortID(r.s.ID, r.trunc) }

// Repository is the name without its tag.
func (r imageRow) Repository() string { return r.repository }

// Tag is the tag.
func (r imageRow) Tag() string { return r.tag }

// Digest is the digest of the manifest it was pulled as.
func (r imageRow) Digest() string { return r.digest }

// CreatedSince is how long ago it was made.
func (r imageRow) CreatedSince() string {
	if r.s.Created.IsZero() {
		return "N/A"
	}
	return units.HumanDuration(r.now.Sub(r.s.Created)) + " ago"
}

// CreatedAt is when it was made.
func (r imageRow) CreatedAt() string {
	return r.s.Created.Local().Format("2006-01-02 15:04:05 -0700 MST")
}

// Size is the size of all its layers unpacked.
func (r imageRow) Size() string { return units.FormatBytes1000(float64(r.s.Size)) }

// VirtualSize is the same as Size.
func (r imageRow) VirtualSize() string { return r.Size() }

// Containers is how many containers use it.
func (r imageRow) Containers() string {
	if r.s.Containers < 0 {
		return "N/A"
	}
	return strconv.Itoa(r.s.Containers)
}

// SharedSize is not computed by ls.
func (r imageRow) SharedSize() string { return "N/A" }

// UniqueSize is not computed by ls.
func (r imageRow) UniqueSize() string { return "N/A" }
