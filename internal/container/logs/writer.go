package logs

import (
	"bytes"
	"errors"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/jsontext"
)

// The streams of a program.
const (
	Stdout byte = 1
	Stderr byte = 2
)

const (
	// partSize is the longest part of a line that is kept in one record.
	partSize = 16 << 10
	// outSize bounds what is written at once, and so the length of a record.
	outSize = 32 << 10
	// pieceSize is encoded between two looks at the room left: six bytes for
	// one at the worst, and the end of the record.
	pieceSize = 1 << 10
	worstCase = 6
	headSize  = len(`{"log":"`)
	tailSize  = len(`","stream":"stdout","time":"`) + len(time.RFC3339Nano) + len("\"}\n")
)

const filePerm = 0o640

// Writer appends to a log. It serves one goroutine, starts none, allocates
// nothing after the first lines, and holds at most 64 KiB.
//
// It never fails the container: records that the disk has no room for are
// dropped and counted, and writing goes on when there is room again.
type Writer struct {
	path  string
	fd    int // -1: driver none, or closed
	max   int64
	files int
	size  int64 // of the file

	partial [2][]byte // the unfinished line of each stream
	out     []byte    // encoded and not written
	whole   int       // so much of out are whole records
	lost    uint64    // records
	err     error     // why a record of the present chunk was dropped, or nil
}

// OpenWriter opens or makes the log at path.
func OpenWriter(path string, o Options) (*Writer, error) {
	w := &Writer{path: path, fd: -1, max: o.MaxSize, files: o.Files}
	if o.Driver == None {
		return w, nil
	}
	if w.max == 0 {
		w.max = defaultMaxSize
	}
	if w.files == 0 {
		w.files = defaultFiles
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_APPEND|unix.O_CLOEXEC, filePerm)
	if err != nil {
		return nil, errdefs.Wrap(&os.PathError{Op: "open", Path: path, Err: err}, "open", "the log")
	}
	w.fd = fd
	if err := w.resume(); err != nil {
		unix.Close(fd)
		return nil, errdefs.Wrap(&os.PathError{Op: "read", Path: path, Err: err}, "open", "the log")
	}
	w.out = make([]byte, 0, outSize)
	return w, nil
}

// resume finds the end of what a writer before left, and cuts a record that
// its death left unfinished.
func (w *Writer) resume() error {
	var st unix.Stat_t
	if err := unix.Fstat(w.fd, &st); err != nil || st.Size == 0 {
		return err
	}
	w.size = st.Size
	var last [1]byte
	if _, err := unix.Pread(w.fd, last[:], st.Size-1); err != nil || last[0] == '\n' {
		return err
	}
	tail := make([]byte, min(st.Size, outSize))
	if _, err := unix.Pread(w.fd, tail, st.Size-int64(len(tail))); err != nil {
		return err
	}
	w.size = st.Size - int64(len(tail)) + int64(bytes.LastIndexByte(tail, '\n')+1)
	return unix.Ftruncate(w.fd, w.size)
}

// Write logs a chunk of a stream's output. It returns the reason if records
// had to be dropped; the writer goes on working.
func (w *Writer) Write(stream byte, p []byte, now time.Time) error {
	if w.fd < 0 {
		return nil
	}
	w.err = nil
	held := &w.partial[stream&Stderr>>1]
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i >= 0 && len(*held) == 0 && i < partSize { // the usual case: no copy
			w.record(stream, p[:i+1], now)
			p = p[i+1:]
			continue
		}
		if *held == nil {
			*held = make([]byte, 0, partSize)
		}
		if len(*held) == partSize {
			w.part(stream, held, now)
		}
		n := min(partSize-len(*held), len(p))
		if i >= 0 && i < n { // the newline finds room
			w.join(stream, held, p[:i+1], now)
			p = p[i+1:]
			continue
		}
		*held = append(*held, p[:n]...)
		p = p[n:]
	}
	w.flush()
	return w.err
}

// join writes the end of a line behind what is held of it.
func (w *Writer) join(stream byte, held *[]byte, end []byte, now time.Time) {
	*held = append(*held, end...)
	w.record(stream, *held, now)
	*held = (*held)[:0]
}

// part writes what is held of a line that is longer, up to a character's border.
func (w *Writer) part(stream byte, held *[]byte, now time.Time) {
	n := border(*held)
	w.record(stream, (*held)[:n], now)
	*held = (*held)[:copy(*held, (*held)[n:])]
}

// border returns the length of p without the beginning of a character at its end.
func border(p []byte) int {
	for n := len(p) - 1; n > 0 && n > len(p)-utf8.UTFMax; n-- {
		if utf8.RuneStart(p[n]) {
			if utf8.FullRune(p[n:]) {
				break
			}
			return n
		}
	}
	return len(p)
}

// record encodes one record, or several parts if its text takes too much room.
func (w *Writer) record(stream byte, text []byte, now time.Time) {
	w.fits(headSize + tailSize)
	w.out = append(w.out, `{"log":"`...)
	for len(text) > 0 {
		piece := text[:min(len(text), pieceSize)]
		if len(piece) < len(text) {
			piece = piece[:border(piece)]
		}
		if !w.fits(len(piece)*worstCase + tailSize) {
			w.end(stream, now)
			w.flush()
			w.out = append(w.out, `{"log":"`...)
		}
		w.out = jsontext.AppendEscaped(w.out, piece)
		text = text[len(piece):]
	}
	w.end(stream, now)
}

// fits reports whether out has room for n bytes, if need be after writing what is whole.
func (w *Writer) fits(n int) bool {
	if cap(w.out)-len(w.out) < n {
		w.flush()
	}
	return cap(w.out)-len(w.out) >= n
}

// end finishes the present record. If it is too much for the file, it becomes the first of a new one.
func (w *Writer) end(stream byte, now time.Time) {
	if stream == Stderr {
		w.out = append(w.out, `","stream":"stderr","time":"`...)
	} else {
		w.out = append(w.out, `","stream":"stdout","time":"`...)
	}
	w.out = now.UTC().AppendFormat(w.out, time.RFC3339Nano)
	w.out = append(w.out, "\"}\n"...)
	if w.max > 0 && w.size+int64(len(w.out)) > w.max {
		w.flush()
		if w.size > 0 {
			if err := w.rotate(); err != nil {
				w.drop(w.out, err)
				w.out = w.out[:0]
			}
		}
	}
	w.whole = len(w.out)
}

// flush writes the whole records and keeps the beginning of the present one.
func (w *Writer) flush() {
	if w.whole == 0 {
		return
	}
	if n, err := w.write(w.out[:w.whole]); err != nil {
		// What reached the disk of the next record is taken back, so that a
		// reader finds whole lines only. Shortening a file needs no room.
		keep := bytes.LastIndexByte(w.out[:n], '\n') + 1
		w.drop(w.out[keep:w.whole], err)
		w.size += int64(keep)
		unix.Ftruncate(w.fd, w.size) //nolint:errcheck // then the reader passes over half a line
	} else {
		w.size += int64(w.whole)
	}
	w.out = w.out[:copy(w.out, w.out[w.whole:])]
	w.whole = 0
}

func (w *Writer) write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(w.fd, p[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return n, &os.PathError{Op: "write", Path: w.path, Err: err}
		}
		n += m
	}
	return n, nil
}

// drop counts records that are given up.
func (w *Writer) drop(records []byte, err error) {
	w.lost += uint64(bytes.Count(records, []byte{'\n'}))
	w.err = err
}

// Lost returns how many records found no room on the disk.
func (w *Writer) Lost() uint64 { return w.lost }

// Close writes the lines that the program did not finish.
func (w *Writer) Close() error {
	if w.fd < 0 {
		return nil
	}
	w.err = nil
	now := time.Now()
	for i := range w.partial {
		if len(w.partial[i]) > 0 {
			w.record(Stdout+byte(i), w.partial[i], now)
		}
	}
	w.flush()
	err := errors.Join(w.err, os.NewSyscallError("close", unix.Close(w.fd)))
	*w = Writer{fd: -1, lost: w.lost}
	return err
}
