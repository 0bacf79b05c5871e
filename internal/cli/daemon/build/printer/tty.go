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

// tty shows all steps at once on a terminal: each has a line with a clock, and
// those at work have the last lines of their output below. The picture is drawn
// again a few times a second, each time by one write that overwrites the old
// lines in place, so that nothing flickers.
type tty struct {
	out   io.Writer
	size  func() (width, height int)
	color bool

	begin    time.Time
	vertexes []*row
	byID     map[oci.Digest]*row

	shown []string // the lines on the screen; the cursor is below the last
}

// row is what is shown of one vertex.
type row struct {
	progress.Started
	end       *progress.Finished // nil: at work
	transfers []progress.Transfer
	buffer    lineBuffer
	output    []string // the last lines
}

// maxOutput is how many lines of output a step at work shows.
const maxOutput = 6

func newTTY(out io.Writer, size func() (int, int), color bool) *tty {
	return &tty{out: out, size: size, color: color, byID: map[oci.Digest]*row{}}
}

func (t *tty) event(e progress.Event) {
	switch e := e.(type) {
	case *progress.Started:
		if t.begin.IsZero() {
			t.begin = e.Time
		}
		if !e.ConfigOnly {
			r := &row{Started: *e}
			t.byID[e.ID] = r
			t.vertexes = append(t.vertexes, r)
		}
	case *progress.Output:
		if r := t.byID[e.ID]; r != nil {
			r.buffer.add(e.Data, e.Time, r.keep)
		}
	case *progress.Transfer:
		if r := t.byID[e.ID]; r != nil {
			r.transfer(*e)
		}
	case *progress.Finished:
		if r := t.byID[e.ID]; r != nil {
			r.end = e
		}
	}
}

// keep remembers a line of output.
func (r *row) keep(line []byte) {
	if len(r.output) == maxOutput {
		r.output = slices.Delete(r.output, 0, 1)
	}
	r.output = append(r.output, visible(line))
}

func (r *row) transfer(t progress.Transfer) {
	for i := range r.transfers {
		if r.transfers[i].Name == t.Name {
			r.transfers[i] = t
			return
		}
	}
	r.transfers = append(r.transfers, t)
}

func (t *tty) tick(now time.Time) { t.draw(now, false) }

func (t *tty) end(now time.Time) { t.draw(now, true) }

// draw brings the screen from the lines that are on it to those of now. The last
// picture has all lines, however many: it scrolls up as any output does.
func (t *tty) draw(now time.Time, last bool) {
	if t.begin.IsZero() {
		return
	}
	width, height := t.size()
	if width <= 0 {
		width = 80
	}
	if height <= 0 {
		height = 24
	}
	lines := t.picture(now, width, height, last)
	if !last && slices.Equal(lines, t.shown) {
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[?25l\r") // hide the cursor
	if up := rows(t.shown, width); up > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", up)
	}
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\r\n") // erase what the old line had more
	}
	b.WriteString("\x1b[J\x1b[?25h")  // erase the old lines below, show the cursor
	io.WriteString(t.out, b.String()) //nolint:errcheck // a closed terminal ends the process by SIGHUP
	t.shown = lines
}

// rows is how many rows of the screen the lines take: more than there are lines
// if the window has become narrower since they were written.
func rows(lines []string, width int) (n int) {
	for _, line := range lines {
		n += max(1, (textWidth(visible([]byte(line)))+width-1)/width)
	}
	return n
}

// picture returns the lines to be shown, each less wide than the terminal.
func (t *tty) picture(now time.Time, width, height int, last bool) []string {
	ended := 0
	for _, r := range t.vertexes {
		if r.end != nil {
			ended++
		}
	}
	head := fmt.Sprintf("[+] Building %.1fs (%d/%d)", max(now.Sub(t.begin).Seconds(), 0), ended, len(t.vertexes))
	if last {
		head += " FINISHED"
	}
	lines := []string{cut(head, width-1)}
	if last {
		for _, r := range t.vertexes {
			lines = append(lines, r.lines(now, width, 0, t.color)...)
		}
		return lines
	}
	return append(lines, t.fitting(now, width, height-2)...)
}

// fitting returns the lines of the newest vertexes that find room in n lines.
// Those at work come first, and share the room for output.
func (t *tty) fitting(now time.Time, width, n int) []string {
	working := len(t.vertexes)
	for _, r := range t.vertexes {
		if r.end != nil {
			working--
		}
	}
	output := maxOutput
	if working > 0 {
		output = max(0, min(output, n/working-2))
	}
	blocks := make([][]string, len(t.vertexes))
	for _, atWork := range [...]bool{true, false} {
		for i := len(t.vertexes) - 1; i >= 0; i-- {
			r := t.vertexes[i]
			if (r.end == nil) != atWork {
				continue
			}
			block := r.lines(now, width, output, t.color)
			if len(block) > n {
				block = block[:max(n, 0)]
			}
			blocks[i] = block
			n -= len(block)
		}
	}
	return slices.Concat(blocks...)
}

// lines returns a vertex's line, and below it those of its transfers and up to
// output lines of what its program wrote.
func (r *row) lines(now time.Time, width, output int, color bool) []string {
	mark, stop := "", now
	if r.end != nil {
		stop = r.end.Time
		switch what, _, _ := strings.Cut(outcome(r.end, 0), " "); what {
		case "DONE":
		case "ERROR:":
			mark = "ERROR "
		default:
			mark = what + " "
		}
	}
	name := " => " + mark + visible([]byte(oneLine(r.Name)))
	list := []string{r.paint(withClock(name, stop.Sub(r.Time), width), color)}
	for _, tr := range r.transfers {
		stop := now
		if !tr.Completed.IsZero() {
			stop = tr.Completed
		}
		begin := tr.Started
		if begin.IsZero() {
			begin = stop
		}
		tr.Started, tr.Completed = time.Time{}, time.Time{} // the clock tells them
		list = append(list, r.paint(withClock(" => => "+visible([]byte(transferText(tr))), stop.Sub(begin), width), color))
	}
	if r.end == nil {
		for _, line := range r.output[max(0, len(r.output)-output):] {
			list = append(list, cut(" => => # "+line, width-1))
		}
	}
	return list
}

// paint colours a line by how its vertex ended: blue, yellow or red, as BuildKit.
func (r *row) paint(line string, color bool) string {
	if !color || r.end == nil {
		return line
	}
	code := "34"
	if r.end.Err != nil {
		code = "31"
		if cancelled(r.end.Err) {
			code = "33"
		}
	}
	return "\x1b[" + code + "m" + line + "\x1b[0m"
}

// withClock puts a duration at the right end of a line.
func withClock(s string, d time.Duration, width int) string {
	clock := fmt.Sprintf(" %.1fs", max(d.Seconds(), 0))
	room := width - 1 - len(clock)
	if room < 1 {
		return cut(s, width-1)
	}
	s = cut(s, room)
	return s + strings.Repeat(" ", room-textWidth(s)) + clock
}
