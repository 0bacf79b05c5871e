// Package output provides the ways in which lists are printed: as a table, as
// ids only, as JSON, or by the user's own Go template.
//
// Docker's bytes are the contract, since scripts read them: columns are at
// least ten wide and three blanks apart, the heading of a column in "table
// TEMPLATE" comes from the template itself executed on headings, and "json" is
// one object per line with all fields of a row.
package output

import (
	"bufio"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"berth/internal/errdefs"
)

// Format is a --format value.
type Format string

// IsTable reports whether the columns are to be aligned under headings.
func (f Format) IsTable() bool {
	return f == "" || f == "table" || strings.HasPrefix(string(f), "table ")
}

// IsDefault reports whether the built-in columns are asked for.
func (f Format) IsDefault() bool { return f == "" || f == "table" }

// Column is one built-in column.
type Column[T any] struct {
	Heading string
	Value   func(T) string
}

// NewTable returns a writer that aligns cells ended by tabs. Flush it.
func NewTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 10, 1, 3, ' ', 0) }

// List prints rows as f says. The built-in columns do not go through a
// template: printing hundreds of rows stays cheap. T is a type whose exported
// methods without arguments are its fields.
func List[T any](w io.Writer, f Format, columns []Column[T], headings Headings, rows []T) error {
	if !f.IsDefault() {
		return listTemplate(w, f, headings, rows)
	}
	table := NewTable(w)
	for i, c := range columns {
		cell(table, i, c.Heading)
	}
	io.WriteString(table, "\n") //nolint:errcheck // tabwriter keeps the error for Flush
	for _, r := range rows {
		for i, c := range columns {
			cell(table, i, c.Value(r))
		}
		io.WriteString(table, "\n") //nolint:errcheck // as above
	}
	return table.Flush()
}

func cell(w io.Writer, i int, s string) {
	if i > 0 {
		io.WriteString(w, "\t") //nolint:errcheck // tabwriter keeps the error for Flush
	}
	io.WriteString(w, s) //nolint:errcheck // as above
}

func listTemplate[T any](w io.Writer, f Format, headings Headings, rows []T) error {
	if f == "json" {
		f = "{{json .}}"
	}
	text, isTable := strings.CutPrefix(string(f), "table ")
	tmpl, err := Parse(unescape(text))
	if err != nil {
		return err
	}
	out := io.Writer(w)
	var table *tabwriter.Writer
	if isTable {
		table = NewTable(w)
		out = table
		if err := printHeadings(out, tmpl, headings); err != nil {
			return err
		}
		io.WriteString(out, "\n") //nolint:errcheck // tabwriter keeps the error for Flush
	}
	for _, r := range rows {
		if err := tmpl.Execute(out, r); err != nil {
			return templateError(err)
		}
		if _, err := io.WriteString(out, "\n"); err != nil {
			return err
		}
	}
	if table != nil {
		return table.Flush()
	}
	return nil
}

func printHeadings(w io.Writer, tmpl *template.Template, headings Headings) error {
	head, err := tmpl.Clone()
	if err != nil {
		return templateError(err)
	}
	if err := head.Funcs(headingFuncs()).Execute(w, headings); err != nil {
		return templateError(err)
	}
	return nil
}

// unescape lets "\t" and "\n" be typed in a shell without its own quoting rules.
func unescape(s string) string {
	return strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(s)
}

func templateError(err error) error {
	return errdefs.New(errdefs.InvalidArgument, "failed to execute template: %w", err)
}

// IDs prints one id per line.
func IDs(w io.Writer, ids func(yield func(string) bool)) error {
	b := bufio.NewWriter(w)
	for id := range ids {
		b.WriteString(id) //nolint:errcheck // bufio keeps the error for Flush
		b.WriteByte('\n') //nolint:errcheck // as above
	}
	return b.Flush()
}

// FormatUsage describes a --format flag of a list.
const FormatUsage = "Print as \"table\", \"table TEMPLATE\", \"json\" or a Go template"

// shortDigits is the length of an id that is shown by default.
const shortDigits = 12

// ShortID returns the first 12 digits of an id without its "sha256:", or, with short false, all of it.
func ShortID(id string, short bool) string {
	if !short {
		return id
	}
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(len(id), shortDigits)]
}

// Ellipsis shortens s to width characters, the last being "…".
func Ellipsis(s string, width int) string {
	if len(s) <= width {
		return s
	}
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return string(r[:width-1]) + "…"
}

// Uses reports whether a template mentions field (".Size"), so that costly fields
// are computed only when they are shown. "json" shows none of those.
func (f Format) Uses(field string) bool { return strings.Contains(string(f), field) }

// NewWideTable is the table of top, whose columns are at least twenty wide.
func NewWideTable(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 20, 1, 3, ' ', 0) }

// InspectUsage describes a --format flag of an inspect.
const InspectUsage = "Print as \"json\" or by a Go template"
