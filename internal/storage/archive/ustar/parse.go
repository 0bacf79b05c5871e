package ustar

import (
	"bytes"
	"math"
)

// The fields of a header block, as offset and length.
//
//	0    100  108  116  124   136    148  156 157   257   263 265  297  329  337  345    500
//	name mode uid  gid  size  mtime  sum  t   link  magic ver uname gname maj  min  prefix
func field(b []byte, off, n int) []byte { return b[off : off+n] }

// parse reads a header block into r.h, before any extended record is applied.
func (r *Reader) parse(b []byte) error {
	sum, ok := number(field(b, 148, 8))
	if unsigned, signed := checksums(b); !ok || sum != unsigned && sum != signed {
		return r.malformed("wrong header checksum")
	}
	h := &r.h
	xattrs := h.Xattrs[:0]
	*h = Header{Name: cString(field(b, 0, 100)), Link: cString(field(b, 157, 100)), Type: b[156], Xattrs: xattrs}
	var mode, major, minor int64
	for _, f := range [...]struct {
		off, n int
		to     *int64
	}{{100, 8, &mode}, {108, 8, &h.UID}, {116, 8, &h.GID}, {124, 12, &h.Size}, {136, 12, &h.Mtime.Sec}} {
		if *f.to, ok = number(field(b, f.off, f.n)); !ok {
			return r.malformed("a header field is no number")
		}
	}
	h.Mode = uint32(mode & 0o7777)
	magic := string(field(b, 257, 6))
	if magic != "ustar\x00" && magic != "ustar " {
		return nil // the oldest form ends here
	}
	major, ok1 := number(field(b, 329, 8))
	minor, ok2 := number(field(b, 337, 8))
	if !ok1 || !ok2 || major < 0 || minor < 0 || major > math.MaxUint32 || minor > math.MaxUint32 {
		return r.malformed("a header field is no number")
	}
	h.Major, h.Minor = uint32(major), uint32(minor)
	if magic == "ustar\x00" {
		// GNU's own form keeps other things in the prefix, star's some at its end.
		n := 155
		if string(field(b, 508, 4)) == "tar\x00" {
			n = 131
		}
		if prefix := cString(field(b, 345, n)); prefix != "" {
			h.Name = prefix + "/" + h.Name
		}
	}
	return nil
}

// checksums returns the sum of all bytes with the checksum field taken as
// blanks, unsigned as POSIX says and signed as some old writers did.
func checksums(b []byte) (unsigned, signed int64) {
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return unsigned, signed
}

// number reads octal digits with blanks or NULs around, or, if the top bit is
// set, a big-endian binary number in the rest of the field (GNU).
func number(b []byte) (int64, bool) {
	if b[0]&0x80 != 0 {
		return binary(b)
	}
	b = bytes.Trim(b, " \x00")
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i] // "644\x00junk": what counts ends at the NUL
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '7' || n > math.MaxInt64>>3 {
			return 0, false
		}
		n = n<<3 | int64(c-'0')
	}
	return n, true
}

// binary reads a two's complement number whose top bit marks the form.
func binary(b []byte) (int64, bool) {
	var flip byte
	if b[0]&0x40 != 0 {
		flip = 0xff
	}
	var n uint64
	for i, c := range b {
		c ^= flip
		if i == 0 {
			c &= 0x7f
		}
		if n>>56 != 0 {
			return 0, false
		}
		n = n<<8 | uint64(c)
	}
	if n > math.MaxInt64 {
		return 0, false
	}
	if flip != 0 {
		return ^int64(n), true
	}
	return int64(n), true
}

// cString returns b up to its first NUL.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
