package ustar

import (
	"bytes"
	"strconv"
	"strings"
)

// A sparse file's entry holds its runs of data without the holes between, and a
// map of where they belong. GNU tar has put the map in four places:
//
//	old GNU   in the header block and blocks after it (type 'S')
//	PAX 0.0   in pairs of records GNU.sparse.offset, GNU.sparse.numbytes
//	PAX 0.1   in one record GNU.sparse.map=off,len,off,len,...
//	PAX 1.0   as lines of decimal digits in front of the data (GNU.sparse.major=1)

// sparseRecord keeps a record whose key begins with "GNU.sparse.".
func (p *paxRecords) sparseRecord(key, value string) error {
	var n int64
	if key != "name" && key != "map" {
		var err error
		if n, err = strconv.ParseInt(value, 10, 64); err != nil || n < 0 {
			return errPax
		}
	}
	switch key {
	case "major":
		p.sparseMajor = n
		p.has |= hasSparseVersion
	case "minor":
		p.sparseMinor = n
		p.has |= hasSparseVersion
	case "name":
		return p.text(&p.sparseName, value, hasSparseName)
	case "size", "realsize":
		p.sparseSize = n
	case "numblocks":
		p.has |= hasSparseMap
	case "offset", "numbytes":
		if p.sparseWantLength != (key == "numbytes") {
			return errPax
		}
		p.sparseWantLength = !p.sparseWantLength
		p.sparseMap = append(p.sparseMap, n)
		p.has |= hasSparseMap
	case "map":
		p.has |= hasSparseMap
		p.sparseMap = p.sparseMap[:0]
		for text := range strings.SplitSeq(value, ",") {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return errPax
			}
			p.sparseMap = append(p.sparseMap, n)
		}
	}
	return nil
}

// readSparseMap finds the map of the entry, checks it, and sets extents and Size.
func (r *Reader) readSparseMap(block []byte) error {
	var size int64
	var err error
	switch {
	case !r.pax.sparse():
		size, err = r.oldSparseMap(block)
	case r.pax.has&hasSparseVersion != 0 && r.pax.sparseMajor == 1 && r.pax.sparseMinor == 0:
		size = r.pax.sparseSize
		err = r.newSparseMap()
	case r.pax.has&hasSparseVersion != 0 && r.pax.sparseMajor != 0:
		return r.malformed("unknown version of sparse file")
	default:
		size = r.pax.sparseSize
		if len(r.pax.sparseMap)%2 != 0 {
			return errPax
		}
		for i := 0; i < len(r.pax.sparseMap) && err == nil; i += 2 {
			err = r.addExtent(r.pax.sparseMap[i], r.pax.sparseMap[i+1])
		}
	}
	if err != nil {
		return err
	}
	r.h.Size = size
	// Runs must follow each other inside the file and use the data up exactly.
	var end, data int64
	kept := r.extents[:0]
	for _, e := range r.extents {
		if e.Offset < end || e.Length < 0 || e.Length > size-e.Offset {
			return r.malformed("a sparse map that makes no sense")
		}
		end = e.Offset + e.Length
		data += e.Length
		if e.Length > 0 {
			kept = append(kept, e)
		}
	}
	r.extents = kept
	if data != r.left || end > size {
		return r.malformed("a sparse map that does not fit its data")
	}
	return nil
}

func (r *Reader) addExtent(offset, length int64) error {
	if len(r.extents) >= r.lim.Extents {
		return Exceeded("runs in a sparse file", int64(r.lim.Extents))
	}
	r.extents = append(r.extents, Extent{offset, length})
	return nil
}

// oldSparseMap reads the map of type 'S': 4 entries in the header at 386, then
// blocks of 21 while a flag says so. Each number has 12 bytes.
func (r *Reader) oldSparseMap(block []byte) (size int64, err error) {
	size, ok := number(field(block, 483, 12))
	if !ok || string(field(block, 257, 6)) != "ustar " {
		return 0, r.malformed("a damaged sparse header")
	}
	table, more := field(block, 386, 4*24), block[482] != 0
	for {
		for ; len(table) >= 24 && table[0] != 0; table = table[24:] {
			offset, ok1 := number(table[:12])
			length, ok2 := number(table[12:24])
			if !ok1 || !ok2 {
				return 0, r.malformed("a damaged sparse header")
			}
			if err := r.addExtent(offset, length); err != nil {
				return 0, err
			}
		}
		if !more {
			return size, nil
		}
		if block, err = r.block(); err != nil {
			return 0, err
		}
		table, more = field(block, 0, 21*24), block[504] != 0
	}
}

// newSparseMap reads the map of version 1.0 from the head of the data: the
// count, then offset and length of each run, one number a line, padded to a block.
func (r *Reader) newSparseMap() error {
	var block []byte
	next := func() (int64, error) {
		var line []byte
		for {
			if len(block) == 0 {
				if r.left < BlockSize {
					return 0, r.malformed("a sparse map that ends early")
				}
				var err error
				if block, err = r.block(); err != nil {
					return 0, err
				}
				r.left -= BlockSize
			}
			i := bytes.IndexByte(block, '\n')
			if i < 0 {
				line, block = append(line, block...), nil
			} else {
				line, block = append(line, block[:i]...), block[i+1:]
			}
			if len(line) > 20 {
				return 0, r.malformed("a sparse map that is not of numbers")
			}
			if i >= 0 {
				n, err := strconv.ParseInt(string(line), 10, 64)
				if err != nil || n < 0 {
					return 0, r.malformed("a sparse map that is not of numbers")
				}
				return n, nil
			}
		}
	}
	count, err := next()
	if err != nil {
		return err
	}
	if count > int64(r.lim.Extents) {
		return Exceeded("runs in a sparse file", int64(r.lim.Extents))
	}
	for range count {
		offset, err := next()
		if err != nil {
			return err
		}
		length, err := next()
		if err != nil {
			return err
		}
		if err := r.addExtent(offset, length); err != nil {
			return err
		}
	}
	return nil
}
