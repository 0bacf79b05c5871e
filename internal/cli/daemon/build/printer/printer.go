// Package printer provides the forms of --progress: what a user sees of a build.
//
// A build reports events (build/progress) from several goroutines, and a printer
// is one goroutine that turns them into text. Every form reads the same events:
//
//	tty      the lines of all steps, drawn again as they change, with clocks
//	plain    one line for each thing that happens, for logs: "#5 DONE 0.2s"
//	rawjson  one JSON document for each event, in BuildKit's shape, for programs
//	classic  Docker's first form: "Step 1/3 : FROM alpine", " ---> 14119a10abf4"
//	quiet    nothing
//
// tty, plain and rawjson go to standard error, as in buildx, so that standard
// output is free for what the build makes (-q, -o -). Classic goes to standard
// output, as it always did.
package printer

import (
	"io"
	"sync"
	"time"

	"berth/internal/build/progress"
	"berth/internal/errdefs"
)

// Mode is a value of --progress.
type Mode string

// The forms of progress. Auto is TTY on a terminal and Plain elsewhere.
const (
	Auto    Mode = "auto"
	TTY     Mode = "tty"
	Plain   Mode = "plain"
	RawJSON Mode = "rawjson"
	Classic Mode = "classic"
	Quiet   Mode = "quiet"
)

// ParseMode checks a --progress.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Auto, nil
	case Auto, TTY, Plain, RawJSON, Classic, Quiet:
		return m, nil
	case "none": // BuildKit's other name of it
		return Quiet, nil
	}
	return "", errdefs.New(errdefs.InvalidArgument, "invalid progress mode %q", s).
		WithHint("one of auto, plain, tty, rawjson, classic, quiet")
}

// Options say where and how to print.
type Options struct {
	Mode Mode
	Out  io.Writer // for classic
	Err  io.Writer // for the others
	// Size returns the columns and rows of the terminal that is written to; nil:
	// it is none.
	Size func() (width, height int)
	// Color allows colours on the terminal.
	Color bool
}

// display is one form. Its methods are called by one goroutine.
type display interface {
	// event takes in what happened.
	event(e progress.Event)
	// tick is called every tenth of a second or so while the build goes on.
	tick(now time.Time)
	// end is called once, after the last event.
	end(now time.Time)
}

// Printer shows one build. Make one with Start and Close it at the end.
type Printer struct {
	events chan progress.Event
	done   chan struct{}
	once   sync.Once
	tails  *tails
}

// queued is how many events may wait. A build whose output nobody reads waits
// then, as any program does that writes to a full pipe.
const queued = 256

// period is the time between two ticks.
const period = 100 * time.Millisecond

// Start begins to print. Mode TTY without a terminal is an error.
func Start(o Options) (*Printer, error) {
	if o.Mode == TTY && o.Size == nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "cannot show --progress=tty: standard error is not a terminal").
			WithHint("--progress=plain works everywhere")
	}
	p := &Printer{events: make(chan progress.Event, queued), done: make(chan struct{}), tails: newTails()}
	go p.serve(newDisplay(o), time.NewTicker(period))
	return p, nil
}

func newDisplay(o Options) display {
	switch {
	case o.Mode == Quiet:
		return silent{}
	case o.Mode == Classic:
		return newClassic(o.Out, o.Color && o.Size != nil)
	case o.Mode == RawJSON:
		return newRawJSON(o.Err)
	case o.Size != nil && o.Mode != Plain:
		return newTTY(o.Err, o.Size, o.Color)
	}
	return newPlain(o.Err)
}

// Event takes an event; it is a progress.Sink. It must not be called after Close.
func (p *Printer) Event(e progress.Event) { p.events <- e }

// Close prints what is left and waits until it is printed.
func (p *Printer) Close() {
	p.once.Do(func() { close(p.events) })
	<-p.done
}

// Failure returns what made the build fail; nil if no vertex did. It must be
// called after Close.
func (p *Printer) Failure() *Failure { return p.tails.failed }

func (p *Printer) serve(d display, clock *time.Ticker) {
	defer close(p.done)
	defer clock.Stop()
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				d.end(time.Now())
				return
			}
			p.tails.event(e)
			d.event(e)
		case now := <-clock.C:
			d.tick(now)
		}
	}
}

// silent is --progress=quiet.
type silent struct{}

func (silent) event(progress.Event) {}
func (silent) tick(time.Time)       {}
func (silent) end(time.Time)        {}
