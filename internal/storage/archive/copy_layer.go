package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// CopyLayer fills the empty directory into with the layer that upper, the
// writable directory of an overlay, amounts to, and returns the layer's diff id.
// Each file is read once:
//
//	upper -> Diff -> tar stream -+-> SHA-256 (the diff id)
//	                             +-> Apply -> into
//
// So what is stored is by construction what a pull of the layer would store, and
// Diff of it gives the same stream again. The three run at the same time.
func CopyLayer(ctx context.Context, upper, into *os.File, o DiffOptions) (Result, error) {
	f := newFan()
	var work sync.WaitGroup
	sum := sha256.New()
	work.Go(func() {
		for c := range f.first {
			sum.Write(c.data[:c.n])
			f.release(c)
		}
	})
	var diffErr error
	work.Go(func() {
		_, diffErr = Diff(ctx, f, upper, o)
		f.end(diffErr)
	})
	res, err := Apply(ctx, into, f, ApplyOptions{})
	f.stop()
	work.Wait()
	if diffErr != nil && !errors.Is(diffErr, errStopped) {
		return res, diffErr // also what Apply reports then, in other words
	}
	res.DiffID = oci.DigestOfSum(sum.Sum(nil))
	return res, err
}

// fan is a pipe with two ends: what is written is read at both. It holds a few
// chunks, so that writer and readers need not wait for each other.
type fan struct {
	free    chan *fanChunk
	first   chan *fanChunk // for whoever takes whole chunks and releases them
	second  chan *fanChunk // for Read
	current *fanChunk
	pos     int
	err     error // set before second is closed
	stopped chan struct{}
}

type fanChunk struct {
	data [256 << 10]byte
	n    int
	uses atomic.Int32
}

const fanChunks = 4

// errStopped is what Write returns when nobody reads any more.
var errStopped = errdefs.New(errdefs.Cancelled, "the reader has gone")

func newFan() *fan {
	f := &fan{
		free: make(chan *fanChunk, fanChunks), first: make(chan *fanChunk, fanChunks), second: make(chan *fanChunk, fanChunks),
		stopped: make(chan struct{}),
	}
	for range fanChunks {
		f.free <- new(fanChunk)
	}
	return f
}

// Write hands p to both ends.
func (f *fan) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		var c *fanChunk
		select {
		case c = <-f.free:
		case <-f.stopped:
			return done, errStopped
		}
		c.n = copy(c.data[:], p)
		p = p[c.n:]
		done += c.n
		c.uses.Store(2)
		f.first <- c // neither blocks: there is room for every chunk
		f.second <- c
	}
	return done, nil
}

func (f *fan) release(c *fanChunk) {
	if c.uses.Add(-1) == 0 {
		f.free <- c
	}
}

// end tells both ends that nothing more comes; err is what Read then returns, nil for io.EOF.
func (f *fan) end(err error) {
	f.err = err
	close(f.first)
	close(f.second)
}

// Read is the second end.
func (f *fan) Read(p []byte) (int, error) {
	if f.current == nil {
		c, ok := <-f.second
		switch {
		case ok:
			f.current, f.pos = c, 0
		case f.err != nil:
			return 0, f.err
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, f.current.data[f.pos:f.current.n])
	if f.pos += n; f.pos == f.current.n {
		f.release(f.current)
		f.current = nil
	}
	return n, nil
}

// stop tells the writer that nobody reads any more.
func (f *fan) stop() { close(f.stopped) }
