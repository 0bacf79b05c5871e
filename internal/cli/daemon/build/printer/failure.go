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
