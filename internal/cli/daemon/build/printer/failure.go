package printer

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"berth/internal/build/progress"
	"berth/internal/oci"
)

// Failure is what is known of the vertex that made a build fail.
type Failure struct {
	Name  string   // "[build 2/4] RUN make"
	Lines []string // the last of its output, with times as in the plain form
}

// tailLines is how many lines of output are shown again when a step fails.
const tailLines = 10

// tails keeps the last lines of every vertex that is at work.
type tails struct {
	byID   map[oci.Digest]*tail
	failed *Failure // the first that failed by itself
}

type tail struct {
	name  string
	begin time.Time
	buf   lineBuffer
	lines []string
}

func newTails() *tails { return &tails{byID: map[oci.Digest]*tail{}} }

func (t *tails) event(e progress.Event) {
	switch e := e.(type) {
	case *progress.Started:
		t.byID[e.ID] = &tail{name: e.Name, begin: e.Time}
	case *progress.Output:
		if v := t.byID[e.ID]; v != nil {
			v.buf.add(e.Data, e.Time, func(line []byte) { v.keep(line, e.Time) })
		}
	case *progress.Finished:
		v := t.byID[e.ID]
		delete(t.byID, e.ID)
		if v != nil && e.Err != nil && !cancelled(e.Err) && t.failed == nil {
			v.buf.rest(func(line []byte) { v.keep(line, e.Time) })
			t.failed = &Failure{v.name, v.lines}
		}
	}
}

func (t *tail) keep(line []byte, at time.Time) {
	if len(t.lines) == tailLines {
		t.lines = slices.Delete(t.lines, 0, 1)
	}
	t.lines = append(t.lines, fmt.Sprintf("%.3f %s", max(at.Sub(t.begin).Seconds(), 0), line))
}

// Print writes the failed vertex and its last lines.
func (f *Failure) Print(w io.Writer) {
	var b strings.Builder
	fmt.Fprintf(&b, "------\n > %s:\n", oneLine(f.Name))
	for _, l := range f.Lines {
		b.WriteString(l + "\n")
	}
	b.WriteString("------\n")
	io.WriteString(w, b.String()) //nolint:errcheck // stderr is the last resort
}

// PrintExcerpt writes the lines from to to of a Dockerfile, marked, with those
// around them. Lines count from 1; what is outside of the text is left out.
func PrintExcerpt(w io.Writer, name string, text []byte, from, to int) {
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	to = min(max(from, to), len(lines))
	if from < 1 || from > len(lines) {
		return
	}
	const around = 2
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d\n--------------------\n", name, from)
	for n := max(1, from-around); n <= min(len(lines), to+around); n++ {
		mark := "   "
		if n >= from && n <= to {
			mark = ">>>"
		}
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf(" %3d | %s %s", n, mark, strings.TrimRight(lines[n-1], "\r")), " "))
	}
	b.WriteString("--------------------\n")
	io.WriteString(w, b.String()) //nolint:errcheck // as above
}
