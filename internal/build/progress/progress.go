package progress

import (
	"time"

	"berth/internal/oci"
)

// Sink takes the events of a build. It is called from several goroutines at
// once and must not wait for anything slow: the build waits for it.
type Sink func(Event)

// Send calls the sink; a nil sink drops everything.
func (s Sink) Send(e Event) {
	if s != nil {
		s(e)
	}
}

// Event is one of *Started, *Running, *Output, *Transfer, *Finished and *Warned.
type Event interface{ event() }

func (*Started) event()  {}
func (*Running) event()  {}
func (*Output) event()   {}
func (*Transfer) event() {}
func (*Finished) event() {}
func (*Warned) event()   {}

// Vertex is a piece of work that has a name of its own in the output.
type Vertex struct {
	// ID is unique in the build and the same in every build of an equal plan.
	ID oci.Digest
	// Inputs are the vertexes whose results this one uses: the step before, the
	// stages that files are copied from. All of them have finished.
	Inputs []oci.Digest
	// Name is what BuildKit's forms show: "[build 2/4] RUN make",
	// "[internal] load build context", "exporting to image".
	Name string
	// Stage is the stage's name, "" outside of a stage; see plan.Stage.
	Stage string
	// Text is the instruction as the user wrote it, "" outside of a stage.
	Text string
	Line int // of the instruction in the Dockerfile, from 1; 0: none
	// Number and Total count the instructions of all stages that are built, in
	// the order of the file, FROM included: "Step 3/7". 0 outside of a stage.
	Number, Total int
	// ConfigOnly says that it changes no files: only classic output shows it.
	ConfigOnly bool
}

// Started begins a vertex.
type Started struct {
	Vertex
	Time time.Time
}

// Running says that a RUN was not in the cache and its program starts now.
type Running struct {
	ID        oci.Digest
	Container string // what names the container, 64 hex digits
	Time      time.Time
}

// Stream is where a program wrote to.
type Stream int

// The streams of a program, numbered as its descriptors.
const (
	Stdout Stream = 1
	Stderr Stream = 2
)

// Output is what a program wrote: any bytes, not always whole lines. Data may
// be kept.
type Output struct {
	ID     oci.Digest
	Stream Stream
	Data   []byte
	Time   time.Time
}

// Transfer is how far a part of a vertex is: a download, a layer being written.
// Each one replaces the one before of the same ID and Name.
type Transfer struct {
	ID                 oci.Digest
	Name               string    // "transferring context", "exporting layers"
	Current, Total     int64     // bytes; Total 0: unknown
	Started, Completed time.Time // Completed is zero while it goes on
	Time               time.Time
}

// Finished ends a vertex.
type Finished struct {
	ID oci.Digest
	// Cached says that nothing was done: the result was there.
	Cached bool
	// State names the image as it is after this instruction: equal States are
	// equal files and config. Classic output shows its first twelve digits. ""
	// outside of a stage and after an error.
	State oci.Digest
	// Err is why the vertex failed; nil if it did not. A vertex that was stopped
	// because another one failed, or by the user, has an error of kind Cancelled.
	Err  error
	Time time.Time
}

// Warned is a remark that belongs to the build and not to one vertex's output:
// the linter's, or an exporter's.
type Warned struct {
	ID     oci.Digest // the vertex it is about; "" for the whole build
	Text   string
	Detail []string
	URL    string
	Line   int // in the Dockerfile, from 1; 0: none
}
