package tarrecord

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io"
	"os"

	"berth/internal/atomicfile"
	"berth/internal/storage/archive/ustar"
	"github.com/klauspost/compress/zstd"
)

// magic is the first line of a record.
const magic = "berth tar record 1\n"

// literalSize is how many literal bytes are gathered before they are written.
const literalSize = 32 << 10

// Writer makes a record while a layer is unpacked: it is an archive.Recorder.
// Everything is kept in files without names, so a killed process leaves nothing.
type Writer struct {
	dir     string // where the nameless files are
	file    *os.File
	out     *encoder
	literal []byte
	err     error // the first one; Finish returns it

	// files are the hashes of the paths of all files in the record, in order:
	// most streams need no more than that.
	files []uint64
	seed  maphash.Seed
	last  map[uint64]int // path -> its latest file; nil until something was removed
	aside *aside
}

// NewWriter begins a record. dir is a directory on the file system where the
// record shall be; nothing appears in it.
func NewWriter(dir string) (*Writer, error) {
	f, err := atomicfile.Nameless(dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{dir: dir, file: f, seed: maphash.MakeSeed(), literal: make([]byte, 0, literalSize)}
	if w.out, err = newEncoder(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// Literal adds bytes that are in no file.
func (w *Writer) Literal(p []byte) {
	for len(p) > 0 {
		if len(w.literal) == literalSize {
			w.flush()
		}
		n := min(len(p), literalSize-len(w.literal))
		w.literal = append(w.literal, p[:n]...)
		p = p[n:]
	}
}

// File adds the content of a file; see archive.Recorder.
func (w *Writer) File(path string, size int64, runs []ustar.Extent) {
	w.flush()
	h := maphash.String(w.seed, path)
	if w.last != nil {
		w.last[h] = len(w.files)
	}
	w.files = append(w.files, h)
	w.keep(w.out.file(file{path, size, runs}))
}

// Removed puts the content of a file aside that is about to be removed.
func (w *Writer) Removed(path string, content *os.File) error {
	if w.last == nil {
		w.last = make(map[uint64]int, len(w.files))
		for i, h := range w.files {
			w.last[h] = i
		}
	}
	h := maphash.String(w.seed, path)
	at, known := w.last[h]
	if !known {
		return nil // one more name of a file, or an empty one
	}
	delete(w.last, h)
	if w.aside == nil {
		f, err := atomicfile.Nameless(w.dir)
		if err != nil {
			return err
		}
		w.aside = &aside{f: f, at: map[int]span{}}
	}
	return w.aside.add(at, content)
}

func (w *Writer) flush() {
	if len(w.literal) > 0 {
		w.keep(w.out.literal(w.literal))
		w.literal = w.literal[:0]
	}
}

func (w *Writer) keep(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Finish completes the record and returns it as a file at its start, without a
// name. The caller closes it; the Writer is used up.
func (w *Writer) Finish() (*os.File, error) {
	w.flush()
	w.keep(w.out.end())
	if w.err == nil && w.aside != nil {
		w.err = w.replace()
	}
	if w.err == nil {
		_, w.err = w.file.Seek(0, io.SeekStart)
	}
	if w.err != nil {
		return nil, errors.Join(w.err, w.Close())
	}
	f := w.file
	w.file = nil
	return f, w.Close()
}

// Close gives up what is not finished.
func (w *Writer) Close() error {
	var errs [2]error
	if w.aside != nil {
		errs[0] = w.aside.f.Close()
		w.aside = nil
	}
	if w.file != nil {
		errs[1] = w.file.Close()
		w.file = nil
	}
	return errors.Join(errs[:]...)
}

// replace writes the record again, with what was put aside in the place of the
// files that are gone.
func (w *Writer) replace() error {
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f, err := atomicfile.Nameless(w.dir)
	if err != nil {
		return err
	}
	out, err := newEncoder(f)
	if err == nil {
		n := 0
		err = read(w.file, reading{
			literal: func(r io.Reader, length int64) error { return out.copy(r, length) },
			file: func(it file) error {
				gone, ok := w.aside.at[n]
				if n++; !ok {
					return out.file(it)
				}
				return it.eachRun(func(offset, length int64) error {
					if offset+length > gone.length {
						return errChanged(it.path)
					}
					return out.copy(io.NewSectionReader(w.aside.f, gone.offset+offset, length), length)
				})
			},
		})
	}
	if err == nil {
		err = out.end()
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	old := w.file
	w.file = f
	return old.Close()
}

// aside is the content of removed files, one after another.
type aside struct {
	f    *os.File
	at   map[int]span // the number of a file in the record -> its content
	used int64
}

type span struct{ offset, length int64 }

func (a *aside) add(number int, content *os.File) error {
	n, err := io.Copy(a.f, content)
	if err != nil {
		return err
	}
	a.at[number] = span{a.used, n}
	a.used += n
	return nil
}

// encoder writes the format.
type encoder struct {
	z *zstd.Encoder
	w *bufio.Writer
}

func newEncoder(w io.Writer) (*encoder, error) {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	e := &encoder{z, bufio.NewWriterSize(z, 64<<10)}
	_, err = e.w.WriteString(magic)
	return e, err
}

func (e *encoder) number(n uint64) {
	var b [binary.MaxVarintLen64]byte
	e.w.Write(b[:binary.PutUvarint(b[:], n)]) //nolint:errcheck // it comes again with the next write
}

func (e *encoder) literal(p []byte) error {
	e.number(uint64(len(p)) << 1)
	_, err := e.w.Write(p)
	return err
}

// copy writes a literal of length bytes from r.
func (e *encoder) copy(r io.Reader, length int64) error {
	if length == 0 {
		return nil
	}
	e.number(uint64(length) << 1)
	_, err := io.CopyN(e.w, r, length)
	return err
}

func (e *encoder) file(f file) error {
	e.number(uint64(len(f.runs))<<1 | 1)
	e.number(uint64(len(f.path)))
	e.w.WriteString(f.path) //nolint:errcheck // as in number
	e.number(uint64(f.size))
	for _, r := range f.runs {
		e.number(uint64(r.Offset))
		e.number(uint64(r.Length))
	}
	_, err := e.w.Write(nil)
	return err
}

func (e *encoder) end() error {
	e.number(0)
	return errors.Join(e.w.Flush(), e.z.Close())
}
