package streams

import (
	"context"
	"io"
)

// Interruptible makes a Read of r, such as standard input, end with the context:
// the read itself cannot be told to, so it is left behind.
func Interruptible(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		type result struct {
			n   int
			err error
		}
		done := make(chan result, 1)
		buf := make([]byte, len(p)) // p must not be written to after we returned
		go func() {
			n, err := r.Read(buf)
			done <- result{n, err}
		}()
		select {
		case got := <-done:
			return copy(p, buf[:got.n]), got.err
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
