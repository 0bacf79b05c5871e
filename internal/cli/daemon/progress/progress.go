// Package progress prints the steps of a transfer as Docker does.
//
// On a terminal each layer has a line of its own that is drawn again as it
// changes. Anywhere else each step is one plain line, and bars are left out, so
// that logs stay readable.
package progress

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"berth/internal/image/transfer"
	"berth/internal/units"
)

// redraw is how often moving bars are drawn.
const redraw = 100 * time.Millisecond

// Printer prints events. It is safe for concurrent use. Call Close at the end.
type Printer struct {
	mu   sync.Mutex
	out  io.Writer
	size func() (width, height int) // nil: no terminal
	now  func() time.Time

	lines []line // of the layers, in the order they came; the last is lowest
	drawn int    // how many of them are on the screen
	last  time.Time
}

// line is what is shown of one layer.
type line struct {
	id      string
	event   transfer.Event
	changed bool
}

// New returns a printer to out. size tells the terminal's columns and rows each
// time it is drawn on; nil means that out is no terminal.
func New(out io.Writer, size func() (width, height int)) *Printer {
	return &Printer{out: out, size: size, now: time.Now}
}

// Event prints or shows one event.
func (p *Printer) Event(e transfer.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size == nil {
		if !e.Status.HasProgress() {
			fmt.Fprintln(p.out, text(e)) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
		}
		return
	}
	if !e.Status.HasProgress() && (e.ID == "" || e.Status == transfer.PullingFrom) {
		p.settle()
		fmt.Fprintln(p.out, text(e)) //nolint:errcheck // as above
		return
	}
	p.put(e.ID, e)
}

// Line prints one line below everything before.
func (p *Printer) Line(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
	fmt.Fprintln(p.out, s) //nolint:errcheck // as above
}

// Close draws what is left to draw.
func (p *Printer) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle()
}

// settle draws the lines for the last time: what comes next goes below them.
func (p *Printer) settle() {
	if p.size != nil {
		p.draw()
	}
	p.lines, p.drawn = nil, 0
}

// put changes a layer's line and draws it, if it is time to.
func (p *Printer) put(id string, e transfer.Event) {
	at := -1
	for i := range p.lines {
		if p.lines[i].id == id {
			at = i
		}
	}
	if at < 0 {
		at = len(p.lines)
		p.lines = append(p.lines, line{id: id})
	}
	bar := e.Status.HasProgress() && p.lines[at].event.Status == e.Status
	p.lines[at].event, p.lines[at].changed = e, true
	if bar && p.now().Sub(p.last) < redraw && e.Current != e.Total {
		return
	}
	p.draw()
}

// draw writes the changed lines over what was there. The cursor rests below the
// last one. Lines that have left the top of the screen cannot be reached any more.
func (p *Printer) draw() {
	width, height := p.size()
	var b strings.Builder
	for ; p.drawn < len(p.lines); p.drawn++ {
		b.WriteByte('\n')
	}
	for i := range p.lines {
		l := &p.lines[i]
		up := len(p.lines) - i
		if !l.changed || height > 0 && up >= height {
			continue
		}
		l.changed = false
		fmt.Fprintf(&b, "\x1b[%dA\r\x1b[2K%s\r\x1b[%dB", up, cut(withBar(l.event, width), width), up)
	}
	p.last = p.now()
	io.WriteString(p.out, b.String()) //nolint:errcheck // as above
}

// cut keeps a line from wrapping, which would move all lines below it.
func cut(s string, width int) string {
	if width > 0 && len(s) >= width {
		return s[:width-1]
	}
	return s
}

func text(e transfer.Event) string {
	s := string(e.Status)
	if e.ID != "" {
		s = e.ID + ": " + s
	}
	if e.Detail != "" {
		s += " " + e.Detail
	}
	return s
}

func withBar(e transfer.Event, width int) string {
	if !e.Status.HasProgress() {
		return text(e)
	}
	return text(e) + " " + bar(e.Current, e.Total, width)
}

// barWidth is how many characters a full bar has.
const barWidth = 50

// bar draws "[=====>     ]  1.2MB/3.4MB"; the bar itself only where there is room.
func bar(current, total int64, width int) string {
	have := fmt.Sprintf("%8v", units.HumanSize(float64(current)))
	if total <= 0 || current > total {
		return have
	}
	numbers := have + "/" + units.HumanSize(float64(total))
	if width > 0 && width <= 110 {
		return numbers
	}
	n := min(int(math.Floor(float64(current)/float64(total)*barWidth)), barWidth)
	return "[" + strings.Repeat("=", n) + ">" + strings.Repeat(" ", barWidth-n) + "] " + numbers
}
