// Package ustar reads and writes the tar format: the container of image layers.
//
// A tar stream is a row of 512-byte blocks: for each file one header block and
// then its data, padded to whole blocks; two zero blocks end it. The header of
// POSIX 1988 ("ustar") has fixed fields for names of at most 255 bytes and
// numbers of at most 11 octal digits. What does not fit is said by extra
// entries in front of the real one: "PAX" records (POSIX 2001, the form that
// image layers use, also for extended attributes) or GNU tar's own forms, which
// images made by GNU tar hold. The reader understands all of them, and sparse
// files in the four forms that GNU tar has written over the years.
//
// The standard library has a tar package. This one exists because that links
// os/user into every program, allocates for each header, copies each byte once
// more, and hides the holes of sparse files. It is tested against it.
//
// A stream is untrusted: every length in it is checked against Limits before
// memory is taken for it.
package ustar

import (
	"strconv"

	"berth/internal/errdefs"
)

// BlockSize is the unit of a tar stream.
const BlockSize = 512

// The kinds of entries, as the type byte of the header says them.
const (
	TypeReg     = '0' // regular file; also '\x00' and '7' in streams, which the reader turns into this
	TypeLink    = '1' // hard link to the entry named Link
	TypeSymlink = '2' // symbolic link to the text Link
	TypeChar    = '3' // character device Major, Minor
	TypeBlock   = '4' // block device
	TypeDir     = '5'
	TypeFifo    = '6'
)

// The types that are about other entries. The reader handles them; none is ever returned by Next.
const (
	typeCont      = '7'
	typePax       = 'x'
	typePaxGlobal = 'g'
	typeGNUName   = 'L'
	typeGNULink   = 'K'
	typeGNUSparse = 'S'
)

// Header is one entry.
type Header struct {
	Name  string // as written, not cleaned in any way
	Link  string // target of TypeLink and TypeSymlink
	Type  byte
	Mode  uint32 // permissions with setuid, setgid and sticky: the low 12 bits
	UID   int64
	GID   int64
	Size  int64 // of the unpacked file, holes included
	Major uint32
	Minor uint32
	Mtime Time
	// Xattrs are the extended attributes in the order of the stream; a name may be there twice, the later counts.
	Xattrs []Xattr
}

// Xattr is one extended attribute of a file.
type Xattr struct{ Name, Value string }

// Time is a time of the Unix clock.
type Time struct {
	Sec  int64
	Nsec int64 // 0 to 999,999,999, counted forward also before 1970
}

// Extent is a run of data in a sparse file; all between is a hole.
type Extent struct{ Offset, Length int64 }

// Limits bound what a stream may ask for. A zero field means its default.
type Limits struct {
	Stream  int64 // bytes of the whole stream; default: none
	Extra   int   // bytes of PAX records or of one long name; default 1 MiB, as Go and Docker
	Extents int   // runs of one sparse file; default 1<<18
}

// LimitError says which limit a stream broke. It comes wrapped in an errdefs.Error of kind Exhausted.
type LimitError struct {
	What string // "bytes", "entries", ...
	Max  int64
}

// Error names the limit.
func (e *LimitError) Error() string {
	return "more than " + strconv.FormatInt(e.Max, 10) + " " + e.What
}

// Exceeded returns the error of a broken limit.
func Exceeded(what string, limit int64) error {
	return &errdefs.Error{Kind: errdefs.Exhausted, Err: &LimitError{what, limit}}
}
