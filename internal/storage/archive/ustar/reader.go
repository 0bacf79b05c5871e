package ustar

import (
	"errors"
	"io"

	"berth/internal/errdefs"
)

// bufferSize is how much of the stream is held: most files of an image fit, so
// that each is one write(2) straight from here.
const bufferSize = 256 << 10

// Reader reads the entries of a stream one after another:
//
//	for {
//		h, err := r.Next() // io.EOF: no more
//		for { chunk, err := r.Data() ... } // until chunk is empty; may be left out
//	}
//	err := r.Drain() // reads what comes after the end, which the digest counts
type Reader struct {
	src    io.Reader
	tee    io.Writer
	lim    Limits
	buf    []byte
	pos, n int   // buf[pos:n] is read and not yet used
	taken  int64 // bytes taken from src
	srcErr error // what ended src

	left int64 // data bytes of the entry not yet returned
	pad  int64 // bytes to the next block after them

	h       Header
	extents []Extent
	sparse  bool
	pax     paxRecords

	record  func(p []byte) // see Record; nil: nobody wants it
	claimed bool           // the entry's data is not for record
}

// NewReader returns a reader of src. Every byte taken from src is also written
// to tee, if it is not nil (a hash never fails, so its error is not looked at).
func NewReader(src io.Reader, tee io.Writer, lim Limits) *Reader {
	if lim.Extra == 0 {
		lim.Extra = 1 << 20
	}
	if lim.Extents == 0 {
		lim.Extents = 1 << 18
	}
	return &Reader{src: src, tee: tee, lim: lim, buf: make([]byte, bufferSize)}
}

// Record lets f have every byte of the stream, in order, but for the data of
// entries that Claim was called for. f must not keep the slice.
func (r *Reader) Record(f func(p []byte)) { r.record = f }

// Claim keeps the data of the entry from being recorded: the caller has it
// elsewhere. It is called before the first Data.
func (r *Reader) Claim() { r.claimed = true }

// advance takes k bytes of the buffer as used.
func (r *Reader) advance(k int) {
	if r.record != nil {
		r.record(r.buf[r.pos : r.pos+k])
	}
	r.pos += k
}

// Taken returns how many bytes of the stream were read so far.
func (r *Reader) Taken() int64 { return r.taken }

// Next goes to the next entry. The header is valid until the call after.
func (r *Reader) Next() (*Header, error) {
	r.pax.reset()
	var longName, longLink *string
	for {
		if err := r.skip(r.left + r.pad); err != nil {
			return nil, err
		}
		r.left, r.pad, r.sparse, r.extents, r.claimed = 0, 0, false, r.extents[:0], false
		b, err := r.headerBlock()
		if err != nil {
			return nil, err
		}
		if err := r.parse(b); err != nil {
			return nil, err
		}
		switch r.h.Type {
		case typePax:
			r.pax.reset()
			text, err := r.extra()
			if err == nil {
				err = r.pax.parse(text)
			}
			if err != nil {
				return nil, err
			}
		case typePaxGlobal:
			// git writes one with a commit id. Their meaning for later entries is
			// ignored, as Docker and containerd do: a layer's entries stand alone.
			if _, err := r.extra(); err != nil {
				return nil, err
			}
		case typeGNUName, typeGNULink:
			text, err := r.extra()
			if err != nil {
				return nil, err
			}
			s := cString(text)
			if r.h.Type == typeGNUName {
				longName = &s
			} else {
				longLink = &s
			}
		default:
			if longName != nil {
				r.h.Name = *longName
			}
			if longLink != nil {
				r.h.Link = *longLink
			}
			return r.finish(b)
		}
	}
}

// finish turns a parsed header block and the records before it into an entry.
func (r *Reader) finish(block []byte) (*Header, error) {
	h := &r.h
	physical, err := r.pax.apply(h)
	if err != nil {
		return nil, err
	}
	if physical < 0 {
		return nil, r.malformed("negative size")
	}
	isSparse := h.Type == typeGNUSparse || r.pax.sparse()
	switch h.Type {
	case 0:
		h.Type = TypeReg
		// Before ustar a directory was a file whose name ends in a slash.
		if len(h.Name) > 0 && h.Name[len(h.Name)-1] == '/' {
			h.Type = TypeDir
		}
	case typeCont, typeGNUSparse:
		h.Type = TypeReg
	}
	h.Size = physical
	switch h.Type {
	case TypeLink, TypeSymlink, TypeChar, TypeBlock, TypeDir, TypeFifo:
		// These have no data, whatever the size field says.
		if isSparse {
			return nil, r.malformed("a sparse entry that is no file")
		}
		h.Size = 0
	default:
		r.left = physical
		r.pad = -physical & (BlockSize - 1)
	}
	if isSparse {
		r.sparse = true
		if err := r.readSparseMap(block); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// Sparse returns the runs of data of the entry, in order, and whether it is
// sparse; Data returns the bytes of all runs one after another.
func (r *Reader) Sparse() ([]Extent, bool) { return r.extents, r.sparse }

// Data returns the next bytes of the entry, none at its end. They are valid
// until the next call of any method. Files up to 64 KiB always come in one piece.
func (r *Reader) Data() ([]byte, error) {
	if r.left == 0 {
		return nil, nil
	}
	if err := r.need(int(min(r.left, 64<<10))); err != nil {
		return nil, err
	}
	chunk := r.buf[r.pos:min(r.n, r.pos+int(min(r.left, bufferSize)))]
	if r.claimed {
		r.pos += len(chunk)
	} else {
		r.advance(len(chunk))
	}
	r.left -= int64(len(chunk))
	return chunk, nil
}

// Drain reads on to the end of the stream.
func (r *Reader) Drain() error {
	for {
		r.advance(r.n - r.pos)
		if err := r.need(1); err != nil {
			if errors.Is(err, errEnd) {
				return nil
			}
			return err
		}
	}
}

// errEnd is the end of the stream where more was wanted.
var errEnd = &errdefs.Error{Kind: errdefs.InvalidArgument, Err: io.ErrUnexpectedEOF}

// need makes at least n bytes (n <= bufferSize) lie in buf[pos:].
func (r *Reader) need(n int) error {
	if r.n-r.pos >= n {
		return nil
	}
	if r.pos > 0 {
		copy(r.buf, r.buf[r.pos:r.n])
		r.n -= r.pos
		r.pos = 0
	}
	for empty := 0; r.n < n; {
		if r.srcErr != nil {
			if errors.Is(r.srcErr, io.EOF) {
				return errEnd
			}
			return r.srcErr
		}
		m, err := r.src.Read(r.buf[r.n:])
		if m > 0 {
			empty = 0
			if r.tee != nil {
				r.tee.Write(r.buf[r.n : r.n+m])
			}
			r.n += m
			r.taken += int64(m)
			if r.lim.Stream > 0 && r.taken > r.lim.Stream {
				err = Exceeded("bytes in the stream", r.lim.Stream)
				r.srcErr = err
				return err
			}
		} else if empty++; empty > 100 && err == nil {
			err = io.ErrNoProgress
		}
		r.srcErr = err
	}
	return nil
}

func (r *Reader) skip(n int64) error {
	for n > 0 {
		if err := r.need(1); err != nil {
			return err
		}
		k := min(n, int64(r.n-r.pos))
		r.advance(int(k))
		n -= k
	}
	return nil
}

// block returns the next block, valid until the next call.
func (r *Reader) block() ([]byte, error) {
	if err := r.need(BlockSize); err != nil {
		return nil, err
	}
	b := r.buf[r.pos : r.pos+BlockSize : r.pos+BlockSize]
	r.advance(BlockSize)
	return b, nil
}

// headerBlock returns the next header block, or io.EOF after two zero blocks.
// A stream that just stops, after any entry or one zero block, ends well too, as for GNU tar.
func (r *Reader) headerBlock() ([]byte, error) {
	for zeros := 0; ; {
		b, err := r.block()
		if errors.Is(err, errEnd) && r.n == r.pos {
			return nil, io.EOF
		}
		if err != nil {
			return nil, err
		}
		if *(*[BlockSize]byte)(b) != [BlockSize]byte{} {
			if zeros > 0 {
				return nil, r.malformed("a zero block between entries")
			}
			return b, nil
		}
		if zeros++; zeros == 2 {
			return nil, io.EOF
		}
	}
}

// extra returns the data of an entry that is about another one.
func (r *Reader) extra() ([]byte, error) {
	size := r.h.Size
	if size < 0 {
		return nil, r.malformed("negative size")
	}
	if size > int64(r.lim.Extra) {
		return nil, Exceeded("bytes of extended header", int64(r.lim.Extra))
	}
	padded := int(size + -size&(BlockSize-1))
	if padded <= bufferSize {
		if err := r.need(padded); err != nil {
			return nil, err
		}
		b := r.buf[r.pos : r.pos+int(size)]
		r.advance(padded)
		return b, nil
	}
	b := make([]byte, 0, size)
	for int64(len(b)) < size {
		if err := r.need(1); err != nil {
			return nil, err
		}
		k := min(int(size)-len(b), r.n-r.pos)
		b = append(b, r.buf[r.pos:r.pos+k]...)
		r.advance(k)
	}
	return b, r.skip(int64(padded) - size)
}

// malformed returns the error of a stream that breaks the format.
func (r *Reader) malformed(why string) error {
	return errdefs.New(errdefs.InvalidArgument, "malformed tar near byte %d: %s", r.taken-int64(r.n-r.pos), why)
}
