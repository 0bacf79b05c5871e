package ustar

import (
	"bytes"
	"strconv"
	"strings"

	"berth/internal/errdefs"
)

// paxRecords are the "length key=value" records in front of an entry.
type paxRecords struct {
	path, link       string
	sparseName       string // the real name, where path is one made up for old readers
	size, uid, gid   int64
	mtime            Time
	has              paxSet
	xattrs           []Xattr
	sparseMap        []int64 // offsets and lengths in turn, of versions 0.0 and 0.1
	sparseMajor      int64
	sparseMinor      int64
	sparseSize       int64
	sparseWantLength bool
}

// paxSet says which records were there.
type paxSet uint16

const (
	hasPath paxSet = 1 << iota
	hasLink
	hasSize
	hasUID
	hasGID
	hasMtime
	hasSparseMap
	hasSparseVersion
	hasSparseName
)

const xattrPrefix = "SCHILY.xattr."

func (p *paxRecords) reset() {
	*p = paxRecords{xattrs: p.xattrs[:0], sparseMap: p.sparseMap[:0]}
}

func (p *paxRecords) sparse() bool { return p.has&(hasSparseMap|hasSparseVersion) != 0 }

var errPax = errdefs.New(errdefs.InvalidArgument, "malformed tar: a PAX record is damaged")

// parse reads all records of one extended header.
func (p *paxRecords) parse(b []byte) error {
	for len(b) > 0 {
		blank := bytes.IndexByte(b, ' ')
		if blank < 1 || blank > 10 {
			return errPax
		}
		n, err := strconv.Atoi(string(b[:blank]))
		if err != nil || n <= blank+1 || n > len(b) || b[n-1] != '\n' {
			return errPax
		}
		key, value, ok := bytes.Cut(b[blank+1:n-1], []byte{'='})
		if !ok || len(key) == 0 || bytes.IndexByte(key, 0) >= 0 {
			return errPax
		}
		if err := p.record(string(key), string(value)); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// record keeps one record. An empty value takes back an earlier record, as POSIX says.
func (p *paxRecords) record(key, value string) error {
	if name, ok := strings.CutPrefix(key, xattrPrefix); ok {
		if name == "" {
			return errPax
		}
		p.xattrs = append(p.xattrs, Xattr{name, value})
		return nil
	}
	var err error
	switch key {
	case "path":
		err = p.text(&p.path, value, hasPath)
	case "linkpath":
		err = p.text(&p.link, value, hasLink)
	case "size":
		err = p.number(&p.size, value, hasSize)
	case "uid":
		err = p.number(&p.uid, value, hasUID)
	case "gid":
		err = p.number(&p.gid, value, hasGID)
	case "mtime":
		if p.has &^= hasMtime; value != "" {
			p.has |= hasMtime
			p.mtime, err = parseTime(value)
		}
	default:
		if strings.HasPrefix(key, "GNU.sparse.") {
			err = p.sparseRecord(key[len("GNU.sparse."):], value)
		}
	}
	return err
}

func (p *paxRecords) text(to *string, value string, bit paxSet) error {
	if strings.IndexByte(value, 0) >= 0 {
		return errPax
	}
	*to = value
	if p.has &^= bit; value != "" {
		p.has |= bit
	}
	return nil
}

func (p *paxRecords) number(to *int64, value string, bit paxSet) error {
	if p.has &^= bit; value == "" {
		return nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return errPax
	}
	*to = n
	p.has |= bit
	return nil
}

// apply writes the records over the fields of the header block and returns how
// many bytes of data follow in the stream.
func (p *paxRecords) apply(h *Header) (physical int64, err error) {
	if p.has&hasPath != 0 {
		h.Name = p.path
	}
	if p.has&hasSparseName != 0 {
		h.Name = p.sparseName
	}
	if p.has&hasLink != 0 {
		h.Link = p.link
	}
	if p.has&hasUID != 0 {
		h.UID = p.uid
	}
	if p.has&hasGID != 0 {
		h.GID = p.gid
	}
	if p.has&hasMtime != 0 {
		h.Mtime = p.mtime
	}
	h.Xattrs = append(h.Xattrs[:0], p.xattrs...)
	if p.has&hasSize != 0 {
		return p.size, nil
	}
	return h.Size, nil
}

// parseTime reads "seconds[.fraction]", of which nine digits of fraction count.
func parseTime(s string) (Time, error) {
	whole, frac, _ := strings.Cut(s, ".")
	negative := strings.HasPrefix(whole, "-")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return Time{}, errPax
	}
	var nsec int64
	for i := range len(frac) {
		if frac[i] < '0' || frac[i] > '9' {
			return Time{}, errPax
		}
	}
	for i := range 9 {
		nsec *= 10
		if i < len(frac) {
			nsec += int64(frac[i] - '0')
		}
	}
	if negative && nsec > 0 { // -1.25 is a quarter second before -1
		sec, nsec = sec-1, 1e9-nsec
	}
	return Time{sec, nsec}, nil
}
