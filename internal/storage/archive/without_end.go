package archive

import "io"

// EndSize is how long the end of a tar is, in bytes: two blocks of zeros.
const EndSize = 1024

// WithoutEnd returns a writer that passes a tar on but for its end, so that
// another one can follow it.
func WithoutEnd(w io.Writer) io.Writer { return &withoutEnd{w: w} }

type withoutEnd struct {
	w    io.Writer
	tail []byte // the last bytes, which may be the end
}

func (t *withoutEnd) Write(p []byte) (int, error) {
	t.tail = append(t.tail, p...)
	if n := len(t.tail) - EndSize; n > 0 {
		if _, err := t.w.Write(t.tail[:n]); err != nil {
			return 0, err
		}
		t.tail = append(t.tail[:0], t.tail[n:]...)
	}
	return len(p), nil
}
