package ustar

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Writer writes a stream: for each entry its Header, then exactly Size bytes by
// Copy or Write, and Close at the end. Entries are gathered in one large buffer,
// so that a tree of small files costs a write per quarter megabyte.
type Writer struct {
	w    io.Writer
	buf  []byte
	n    int
	sent int64 // bytes handed to w
	err  error
}

// copyDirect is the size from which a file goes from descriptor to descriptor
// without passing through the buffer.
const copyDirect = 512 << 10

// NewWriter returns a writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, buf: make([]byte, bufferSize)} }

// Written returns how many bytes the stream has so far.
func (w *Writer) Written() int64 { return w.sent + int64(w.n) }

// Header writes the header of the next entry, with PAX records only if the
// plain fields cannot say it.
func (w *Writer) Header(h *Header) error {
	if len(w.buf)-w.n < 4*BlockSize {
		w.flush()
	}
	out := AppendHeader(w.buf[w.n:w.n], h)
	if w.n+len(out) <= len(w.buf) { // the usual case: appended in place
		w.n += len(out)
		return w.err
	}
	w.flush()
	w.write(out)
	return w.err
}

// Write adds data of the entry; the caller counts its bytes and calls Pad after the last.
func (w *Writer) Write(p []byte) (int, error) {
	if len(p) > len(w.buf)-w.n {
		w.flush()
	}
	if len(p) > len(w.buf) {
		w.write(p)
	} else {
		w.n += copy(w.buf[w.n:], p)
	}
	return len(p), w.err
}

// Copy adds size bytes read from f, and the padding. A file that has become
// shorter is filled up with zero bytes, so that the stream stays whole, and
// short tells how many; the caller decides what that means.
func (w *Writer) Copy(f int, size int64) (short int64, err error) {
	left := size
	if out, ok := w.w.(*os.File); ok && size >= copyDirect {
		if left, err = w.copyDirect(out, f, size); err != nil {
			return 0, err
		}
	}
	for left > 0 && w.err == nil {
		if w.n == len(w.buf) {
			w.flush()
		}
		n, err := read(f, w.buf[w.n:min(len(w.buf), w.n+int(min(left, bufferSize)))])
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		w.n += n
		left -= int64(n)
	}
	w.zeros(left)
	w.Pad(size)
	return left, w.err
}

// copyDirect lets the kernel move the data (copy_file_range or splice) and returns what is left.
func (w *Writer) copyDirect(out *os.File, f int, size int64) (left int64, err error) {
	// The os package wants a File, which must not close the caller's descriptor.
	dup, err := unix.FcntlInt(uintptr(f), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return size, os.NewSyscallError("fcntl", err)
	}
	in := os.NewFile(uintptr(dup), "")
	defer in.Close()
	w.flush()
	if w.err != nil {
		return size, w.err
	}
	n, err := out.ReadFrom(io.LimitReader(in, size))
	w.sent += n
	w.err = err
	return size - n, err
}

// Skip counts size bytes and the padding without writing them: the stream is
// measured only.
func (w *Writer) Skip(size int64) { w.sent += size + -size&(BlockSize-1) }

// Pad fills the last block of an entry of the given size.
func (w *Writer) Pad(size int64) { w.zeros(-size & (BlockSize - 1)) }

// Close writes the end of the stream and flushes; it does not close the underlying writer.
func (w *Writer) Close() error {
	w.zeros(2 * BlockSize)
	w.flush()
	return w.err
}

func (w *Writer) zeros(n int64) {
	for n > 0 && w.err == nil {
		if w.n == len(w.buf) {
			w.flush()
		}
		k := min(n, int64(len(w.buf)-w.n))
		clear(w.buf[w.n : w.n+int(k)])
		w.n += int(k)
		n -= k
	}
}

func (w *Writer) flush() {
	if w.n > 0 {
		w.write(w.buf[:w.n])
		w.n = 0
	}
}

func (w *Writer) write(p []byte) {
	if w.err != nil {
		return
	}
	n, err := w.w.Write(p)
	w.sent += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
}

func read(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if !errors.Is(err, unix.EINTR) {
			return n, os.NewSyscallError("read", err)
		}
	}
}
