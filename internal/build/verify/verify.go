// Package verify compares two results of one build, to tell whether the build is
// reproducible: whether the same input gives the same bytes, wherever and
// whenever it is built. Only then can somebody else check that an image was made
// of the sources that it claims (reproducible-builds.org).
//
// What differs is mostly time: files bear the moment of their making, and
// programs write it into what they make. The first kind an exporter can mend
// (SOURCE_DATE_EPOCH and rewrite-timestamp); the second shows here as content.
package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/internal/build/solve"
)

// Report is how two results differ.
type Report struct {
	// Config are the fields of the image's config that differ.
	Config []string
	Layers []Layer // those that differ, base first
	// Total is how many layers the results have on top of their base.
	Total int
	// Times counts the files that differ in their time, TimesAlone those that
	// differ in nothing else.
	Times, TimesAlone int
}

// Same reports whether the results are the same.
func (r *Report) Same() bool { return len(r.Config) == 0 && len(r.Layers) == 0 }

// Layer is a layer that differs.
type Layer struct {
	Text string // of the step that made it
	// Only says which of the two results has the layer at all: 1 or 2; 0: both.
	Only  int
	Files []File // in the order of their paths
}

// File is a path that differs.
type File struct {
	Path string
	// Only says which of the two layers has the path: 1 or 2; 0: both.
	Only int
	What []string // "mode 0644, 0600", "time ..., ...", "content"
	// Lines are the first lines that differ, one of each result; none if the
	// content is the same, or no text.
	Lines []string
}

// Compare compares two results of one plan, as an export with or without
// rewritten times would write them.
func Compare(ctx context.Context, dataRoot string, a, b *solve.Result, rewrite bool) (*Report, error) {
	r := &Report{Total: max(len(a.Layers), len(b.Layers)), Config: configs(a, b)}
	c := &comparison{dataRoot: dataRoot, report: r}
	if rewrite {
		c.latest = a.Plan.Epoch
	}
	left, right := a.Layers, b.Layers
	for len(left) > 0 || len(right) > 0 {
		switch {
		case len(left) > 0 && len(right) > 0 && left[0].Text == right[0].Text:
			files, err := c.layers(ctx, left[0], right[0])
			if err != nil {
				return nil, err
			}
			if len(files) > 0 {
				r.Layers = append(r.Layers, Layer{Text: left[0].Text, Files: files})
			}
			left, right = left[1:], right[1:]
		case len(right) == 0 || len(left) > 0 && !has(right, left[0].Text): // a step that changed nothing the second time
			r.Layers = append(r.Layers, Layer{Text: left[0].Text, Only: 1})
			left = left[1:]
		default:
			r.Layers = append(r.Layers, Layer{Text: right[0].Text, Only: 2})
			right = right[1:]
		}
	}
	return r, nil
}

func has(layers []solve.Layer, text string) bool {
	return slices.ContainsFunc(layers, func(l solve.Layer) bool { return l.Text == text })
}

// configs compares what is in a config besides the digests of layers. All of it
// follows from the plan, except when it was carried out.
func configs(a, b *solve.Result) []string {
	if sameTime(a.Config.Created, b.Config.Created) {
		return nil
	}
	return []string{fmt.Sprintf("created %s, %s", stamp(a.Config.Created), stamp(b.Config.Created))}
}

func sameTime(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

func stamp(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339Nano)
}
