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

// classic is the output that Docker had before BuildKit, and that books and
// articles show: each instruction with its number, and after it the id of the
// image as it is then.
//
// It shows one instruction at a time, in the order of the file. What stages that
// work at the same time have to say waits for its turn.
type classic struct {
	out   io.Writer
	color bool
	byID  map[oci.Digest]*step
	steps []*step // not printed to their end, by Number
	next  int     // the number of the step whose turn it is
}

// step is one instruction.
type step struct {
	progress.Started
	pending []progress.Event // until it is this step's turn
	shown   bool             // its heading is printed
	running string           // the container
}

func newClassic(out io.Writer, color bool) *classic {
	return &classic{out: out, color: color, byID: map[oci.Digest]*step{}, next: 1}
}

func (c *classic) event(e progress.Event) {
	var s *step
	switch e := e.(type) {
	case *progress.Started:
		if e.Number > 0 {
			c.insert(&step{Started: *e})
		}
	case *progress.Running:
		s = c.byID[e.ID]
	case *progress.Output:
		s = c.byID[e.ID]
	case *progress.Finished:
		s = c.byID[e.ID]
	case *progress.Warned:
		if e.ID == "" {
			fmt.Fprintf(c.out, "[Warning] %s\n", e.Text) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
		}
	}
	if s != nil {
		s.pending = append(s.pending, e)
	}
	c.advance()
}

func (c *classic) insert(s *step) {
	c.byID[s.ID] = s
	at := len(c.steps)
	for at > 0 && c.steps[at-1].Number > s.Number {
		at--
	}
	c.steps = slices.Insert(c.steps, at, s)
}

// advance prints the first step as far as it is known, and those after it if it
// is at its end.
func (c *classic) advance() {
	for len(c.steps) > 0 && c.steps[0].Number == c.next {
		s := c.steps[0]
		if !s.shown {
			fmt.Fprintf(c.out, "Step %d/%d : %s\n", s.Number, s.Total, oneLine(s.Text)) //nolint:errcheck // as above
			s.shown = true
		}
		ended := false
		for _, e := range s.pending {
			ended = c.print(s, e) || ended
		}
		s.pending = nil
		if !ended {
			return
		}
		c.steps = c.steps[1:]
		c.next++
		delete(c.byID, s.ID)
	}
}

// print prints an event of the step whose turn it is, and reports whether it
// was its last.
func (c *classic) print(s *step, e progress.Event) (ended bool) {
	switch e := e.(type) {
	case *progress.Running:
		s.running = short(e.Container)
		fmt.Fprintf(c.out, " ---> Running in %s\n", s.running) //nolint:errcheck // as above
	case *progress.Output:
		if e.Stream == progress.Stderr && c.color {
			fmt.Fprintf(c.out, "\x1b[91m%s\x1b[0m", e.Data) //nolint:errcheck // as above
		} else {
			c.out.Write(e.Data) //nolint:errcheck // as above
		}
	case *progress.Finished:
		c.finish(s, e)
		return true
	}
	return false
}

func (c *classic) finish(s *step, e *progress.Finished) {
	if e.Err != nil {
		return // the error is printed at the end
	}
	if s.running != "" {
		fmt.Fprintf(c.out, "Removing intermediate container %s\n", s.running) //nolint:errcheck // as above
	}
	if e.Cached && !isBase(s) {
		fmt.Fprintln(c.out, " ---> Using cache") //nolint:errcheck // as above
	}
	id := ""
	if e.State != "" && e.State != oci.DigestOf(nil) { // FROM scratch is no image
		id = short(e.State.Hex())
	}
	fmt.Fprintf(c.out, " ---> %s\n", id) //nolint:errcheck // as above
}

// isBase reports whether the step is a FROM: a base that is there is no cache.
func isBase(s *step) bool {
	word, _, _ := strings.Cut(s.Text, " ")
	return strings.EqualFold(word, "FROM")
}

// short is the form of an id in which people read it.
func short(id string) string { return id[:min(len(id), 12)] }

func (c *classic) tick(time.Time) {}

// end prints what a failed build has left: steps behind one that never began, or
// that never ended.
func (c *classic) end(time.Time) {
	for len(c.steps) > 0 {
		c.next = c.steps[0].Number
		c.advance()
		if len(c.steps) > 0 && c.steps[0].Number == c.next {
			c.steps = c.steps[1:]
		}
	}
}
