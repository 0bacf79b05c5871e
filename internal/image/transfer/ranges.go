package transfer

import (
	"encoding/binary"
	"os"
)

// The sizes of a blob's ranges. A blob of at least rangesFrom bytes is fetched
// in ranges of rangeSize, several at once and in order: the unpacker follows
// close behind the first. DefaultRanges at once and DefaultParallel layers make
// twelve connections at most.
const (
	rangesFrom    = 32 << 20
	rangeSize     = 8 << 20
	DefaultRanges = 4
	// maxRanges bounds the table, since a blob's size is its author's word. A
	// very large blob has longer ranges.
	maxRanges = 1024
)

// ranges says which bytes of a blob are in its partial file. It lives at the
// file's end, behind the place of the blob's last byte, so that one lock and
// one removal are for both:
//
//	size+0   "berthrng", the length of a range (8 bytes, little endian)
//	size+16  for each range, how many of its bytes are there (8 bytes each)
//
// A blob of one range has no table: the file's length says the same. The bytes
// are written before the number that counts them, so a process killed in
// between loses the count of a few bytes and never counts what is not there.
// After a power cut the table may lie; the blob's digest tells.
type ranges struct {
	size, each int64
	have       []int64 // bytes of each range, from its start
	claimed    []bool  // somebody is at it
}

const rangesMagic = "berthrng"

// divide makes the empty ranges of a blob: one if it is shorter than from.
func divide(size, from, each int64) *ranges {
	each = max(each, size/maxRanges+1)
	if size < from {
		each = max(size, 1)
	}
	n := size / each
	if size%each > 0 {
		n++
	}
	return &ranges{size: size, each: each, have: make([]int64, n), claimed: make([]bool, n)}
}

// length returns how many bytes range i has when it is complete.
func (r *ranges) length(i int) int64 { return min(r.each, r.size-int64(i)*r.each) }

// got returns the bytes there are, in all ranges together.
func (r *ranges) got() (n int64) {
	for _, h := range r.have {
		n += h
	}
	return n
}

// front returns the bytes there are from the blob's start without a gap.
func (r *ranges) front() int64 {
	for i, h := range r.have {
		if h < r.length(i) {
			return int64(i)*r.each + h
		}
	}
	return r.size
}

// add counts n bytes at offset at, as far as they join on to those of their range.
func (r *ranges) add(at, n int64) (first, last int) {
	first = int(at / r.each)
	for i := first; n > 0; i++ {
		within := at - int64(i)*r.each
		part := min(n, r.each-within)
		if within <= r.have[i] {
			r.have[i] = max(r.have[i], within+part)
		}
		at, n, last = at+part, n-part, i
	}
	return first, last
}

// part is what is missing of range i: the bytes [from, to) of the blob.
type part struct {
	i        int
	from, to int64
}

// claim returns the first range that is not complete and that nobody is at.
func (r *ranges) claim() (part, bool) {
	for i, h := range r.have {
		if n := r.length(i); h < n && !r.claimed[i] {
			r.claimed[i] = true
			start := int64(i) * r.each
			return part{i, start + h, start + n}, true
		}
	}
	return part{}, false
}

// tabled reports whether the ranges are written into the file.
func (r *ranges) tabled() bool { return len(r.have) > 1 }

// tableSize is the length of the table.
func (r *ranges) tableSize() int64 { return 16 + 8*int64(len(r.have)) }

// create writes the table.
func (r *ranges) create(f *os.File) error {
	b := binary.LittleEndian.AppendUint64([]byte(rangesMagic), uint64(r.each))
	for _, h := range r.have {
		b = binary.LittleEndian.AppendUint64(b, uint64(h))
	}
	_, err := f.WriteAt(b, r.size)
	return err
}

// update writes the entries from first to last.
func (r *ranges) update(f *os.File, first, last int) error {
	var b []byte
	for _, h := range r.have[first : last+1] {
		b = binary.LittleEndian.AppendUint64(b, uint64(h))
	}
	_, err := f.WriteAt(b, r.size+16+8*int64(first))
	return err
}

// load takes over what an earlier process left in a file of the given length.
// A table that is none of ours, or says what cannot be, leaves the ranges empty.
func (r *ranges) load(f *os.File, length int64) error {
	if length <= r.size || !r.tabled() {
		r.add(0, min(length, r.size)) // a beginning
		return nil
	}
	if length != r.size+r.tableSize() {
		return nil
	}
	b := make([]byte, r.tableSize())
	if _, err := f.ReadAt(b, r.size); err != nil {
		return err
	}
	if string(b[:8]) != rangesMagic || int64(binary.LittleEndian.Uint64(b[8:])) != r.each {
		return nil
	}
	have := make([]int64, len(r.have))
	for i := range have {
		have[i] = int64(binary.LittleEndian.Uint64(b[16+8*i:]))
		if have[i] < 0 || have[i] > r.length(i) {
			return nil
		}
	}
	r.have = have
	return nil
}
