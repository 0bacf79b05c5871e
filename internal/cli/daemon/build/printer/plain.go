package printer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"berth/internal/build/progress"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/units"
)

// patience is how long the lines of a vertex may wait while another one has the
// output. Lines of steps that run side by side come in blocks, each under a
// heading, so that they can be read.
const patience = 5 * time.Second

// plain is BuildKit's form for logs. Vertexes have numbers in the order in which
// they are first printed.
type plain struct {
	out     io.Writer
	byID    map[oci.Digest]*block
	open    []*block // started and not finished, in the order of their start
	current *block   // who printed last and goes on
	count   int
}

// block is what is printed of one vertex.
type block struct {
	progress.Started
	number    int // 0: not printed yet
	lines     lineBuffer
	waiting   bytes.Buffer // lines that are not printed yet
	since     time.Time    // when the first of them came
	transfers map[string]progress.Transfer
	silent    []progress.Transfer // begun, and worth a line only if they last
}

func newPlain(out io.Writer) *plain {
	return &plain{out: out, byID: map[oci.Digest]*block{}}
}

func (p *plain) event(e progress.Event) {
	switch e := e.(type) {
	case *progress.Started:
		if !e.ConfigOnly {
			b := &block{Started: *e, transfers: map[string]progress.Transfer{}}
			p.byID[e.ID] = b
			p.open = append(p.open, b)
		}
	case *progress.Output:
		if b := p.byID[e.ID]; b != nil {
			b.lines.add(e.Data, e.Time, func(line []byte) { p.output(b, line, e.Time) })
		}
	case *progress.Transfer:
		if b := p.byID[e.ID]; b != nil {
			p.transfer(b, *e)
		}
	case *progress.Warned:
		if b := p.byID[e.ID]; b != nil {
			p.say(b, time.Now(), "WARN: %s", e.Text)
		}
	case *progress.Finished:
		if b := p.byID[e.ID]; b != nil {
			p.finish(b, e)
		}
	}
}

// output prints a line of a program under the seconds since its step began.
func (p *plain) output(b *block, line []byte, at time.Time) {
	p.say(b, at, "%.3f %s", max(at.Sub(b.Time).Seconds(), 0), line)
}

// transfer prints the beginning of a transfer, its end, and every twentieth of
// it in between, or at least every five seconds.
func (p *plain) transfer(b *block, t progress.Transfer) {
	last, known := b.transfers[t.Name]
	done := !t.Completed.IsZero()
	if known && !done && t.Time.Sub(last.Time) < patience &&
		(t.Total == 0 || float64(t.Current-last.Current) < float64(t.Total)/20) {
		return
	}
	b.transfers[t.Name] = t
	b.silent = slices.DeleteFunc(b.silent, func(s progress.Transfer) bool { return s.Name == t.Name })
	if !done && t.Current == 0 && t.Total == 0 {
		b.silent = append(b.silent, t) // it may be over in a moment
		return
	}
	p.say(b, t.Time, "%s", transferText(t))
}

// lasting prints the beginnings of transfers that are still at it.
func (p *plain) lasting(b *block, now time.Time) {
	for len(b.silent) > 0 && now.Sub(b.silent[0].Time) >= time.Second {
		p.say(b, now, "%s", transferText(b.silent[0]))
		b.silent = b.silent[1:]
	}
}

// transferText writes "transferring context: 2.05kB 0.1s done".
func transferText(t progress.Transfer) string {
	s := t.Name
	switch {
	case t.Total > 0:
		s += " " + units.FormatBytes1000(float64(t.Current)) + " / " + units.FormatBytes1000(float64(t.Total))
	case t.Current > 0:
		s += " " + units.FormatBytes1000(float64(t.Current))
	}
	end := t.Time
	if !t.Completed.IsZero() {
		end = t.Completed
	}
	if d := end.Sub(t.Started).Seconds(); !t.Started.IsZero() && d > 0.01 {
		s += fmt.Sprintf(" %.1fs", d)
	}
	if !t.Completed.IsZero() {
		s += " done"
	}
	return s
}

// say prints a line of a vertex, now or when its turn comes.
func (p *plain) say(b *block, at time.Time, format string, args ...any) {
	if b.waiting.Len() == 0 {
		b.since = at
	}
	b.waiting.WriteString(fmt.Sprintf(format, args...) + "\n")
	if p.current == nil || p.current == b {
		p.show(b)
	}
}

// show makes b the one that prints and prints what waits of it.
func (p *plain) show(b *block) {
	if b != p.current {
		if p.current != nil {
			fmt.Fprintf(p.out, "#%d ...\n", p.current.number) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
		}
		if p.count > 0 {
			fmt.Fprintln(p.out) //nolint:errcheck // as above
		}
		if b.number == 0 {
			p.count++
			b.number = p.count
		}
		fmt.Fprintf(p.out, "#%d %s\n", b.number, oneLine(b.Name)) //nolint:errcheck // as above
		p.current = b
	}
	for line := range bytes.Lines(b.waiting.Bytes()) {
		fmt.Fprintf(p.out, "#%d %s", b.number, line) //nolint:errcheck // as above
	}
	b.waiting.Reset()
}

// finish prints how a vertex ended, before anything else goes on.
func (p *plain) finish(b *block, e *progress.Finished) {
	b.lines.rest(func(line []byte) { p.output(b, line, e.Time) })
	p.show(b)
	p.say(b, e.Time, "%s", outcome(e, e.Time.Sub(b.Time)))
	p.current = nil
	p.open = slices.DeleteFunc(p.open, func(o *block) bool { return o == b })
	delete(p.byID, e.ID)
}

// outcome writes "DONE 0.2s", "CACHED", "CANCELED" or "ERROR: ...".
func outcome(e *progress.Finished, took time.Duration) string {
	switch {
	case e.Err != nil && cancelled(e.Err):
		return "CANCELED"
	case e.Err != nil:
		return "ERROR: " + oneLine(e.Err.Error())
	case e.Cached:
		return "CACHED"
	}
	return fmt.Sprintf("DONE %.1fs", max(took.Seconds(), 0))
}

func cancelled(err error) bool {
	return errdefs.KindOf(err) == errdefs.Cancelled || errors.Is(err, context.Canceled)
}

// tick gives the output to who has waited for it.
func (p *plain) tick(now time.Time) {
	for _, b := range p.open {
		if b.lines.stale(now) {
			b.lines.rest(func(line []byte) { p.output(b, line, b.lines.since) })
		}
		p.lasting(b, now)
	}
	if next := p.next(now); next != nil {
		p.show(next)
	}
}

// next is the open vertex that should print now, nil for none: without a
// current one the first with something to say, or the first at all.
func (p *plain) next(now time.Time) *block {
	var first *block
	for _, b := range p.open {
		if b == p.current {
			continue
		}
		if b.waiting.Len() > 0 && (p.current == nil || now.Sub(b.since) >= patience) {
			return b
		}
		if first == nil {
			first = b
		}
	}
	if p.current == nil {
		return first
	}
	return nil
}

// end prints what is still open: a build that was interrupted.
func (p *plain) end(now time.Time) {
	for _, b := range slices.Clone(p.open) {
		b.lines.rest(func(line []byte) { p.output(b, line, now) })
		if b.waiting.Len() > 0 {
			p.show(b)
		}
	}
}
