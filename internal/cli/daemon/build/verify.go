package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/build/verify"
	"berth/internal/oci"
)

// twice carries a plan out twice without the cache and compares what came of
// it. If that is the same it goes where the user wants it; otherwise nothing is
// made, and the answer is what differs.
func (b *build) twice(ctx context.Context, p *plan.Plan, o solve.Options) (_ *made, err error) {
	o.NoCache = true
	first, err := solve.Solve(ctx, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, first.Close()) }()
	o.Events = again(b.sink)
	second, err := solve.Solve(ctx, p, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.finish(ctx, second)) }()
	rewritten := b.rewrites()
	report, err := verify.Compare(ctx, b.Env.DataRoot, first, second, rewritten)
	if err != nil {
		return nil, err
	}
	if !report.Same() {
		return &made{text: differences(report, p.Epoch != nil, rewritten), failed: true}, nil
	}
	m, err := b.export(ctx, []*solve.Result{second})
	if err == nil && !b.quiet && !b.stdoutTaken() {
		m.text = fmt.Sprintf("Two builds gave the same %s.\n", count(report.Total, "layer"))
	}
	return m, err
}

// rewrites reports whether all outputs give files no later time than SOURCE_DATE_EPOCH.
func (b *build) rewrites() bool {
	return !slices.ContainsFunc(b.outputs, func(o destination) bool {
		return o.kind != "local" && o.kind != "tar" && !isTrue(o.attrs["rewrite-timestamp"])
	})
}

// again names the vertexes of a second run otherwise than those of the first:
// they are the same steps.
func again(sink progress.Sink) progress.Sink {
	other := func(id oci.Digest) oci.Digest {
		if id == "" {
			return ""
		}
		return oci.DigestOf([]byte("again " + id))
	}
	return func(e progress.Event) {
		switch e := e.(type) {
		case *progress.Started:
			c := *e
			c.ID, c.Name, c.Inputs = other(e.ID), "again: "+e.Name, make([]oci.Digest, len(e.Inputs))
			for i, id := range e.Inputs {
				c.Inputs[i] = other(id)
			}
			sink.Send(&c)
		case *progress.Running:
			c := *e
			c.ID = other(e.ID)
			sink.Send(&c)
		case *progress.Output:
			c := *e
			c.ID = other(e.ID)
			sink.Send(&c)
		case *progress.Transfer:
			c := *e
			c.ID = other(e.ID)
			sink.Send(&c)
		case *progress.Finished:
			c := *e
			c.ID = other(e.ID)
			sink.Send(&c)
		default:
			sink.Send(e)
		}
	}
}

// maxFiles bounds the files that a report shows of one layer.
const maxFiles = 20

// differences is a report for people: each layer that differs with its files,
// and what to do about it.
func differences(r *verify.Report, epoch, rewritten bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Two builds differ in %d of %s.\n", len(r.Layers), count(r.Total, "layer"))
	for _, what := range r.Config {
		fmt.Fprintf(&b, "\nimage config: %s\n", what)
	}
	for _, l := range r.Layers {
		fmt.Fprintf(&b, "\n%s\n", printable(l.Text))
		if l.Only != 0 {
			fmt.Fprintf(&b, "  changed files only in the %s build\n", ordinal(l.Only))
		}
		for _, f := range l.Files[:min(len(l.Files), maxFiles)] {
			if f.Only != 0 {
				fmt.Fprintf(&b, "  %s: only in the %s build\n", printable(f.Path), ordinal(f.Only))
				continue
			}
			fmt.Fprintf(&b, "  %s: %s\n", printable(f.Path), printable(strings.Join(f.What, "; ")))
			for i, line := range f.Lines {
				fmt.Fprintf(&b, "    %c %s\n", "-+"[i], line)
			}
		}
		if more := len(l.Files) - maxFiles; more > 0 {
			fmt.Fprintf(&b, "  and %s more\n", count(more, "file"))
		}
	}
	switch {
	case r.Times == 0 && len(r.Config) == 0:
	case !epoch:
		b.WriteString("\nhint: set SOURCE_DATE_EPOCH, as to $(git log -1 --format=%ct), and add --output type=image,rewrite-timestamp=true\n")
	case !rewritten:
		b.WriteString("\nhint: files bear the time of the build; --output type=image,rewrite-timestamp=true gives them SOURCE_DATE_EPOCH\n")
	}
	return b.String()
}

func ordinal(n int) string { return [...]string{"", "first", "second"}[n] }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// printable escapes what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
