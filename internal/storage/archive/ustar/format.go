package ustar

import (
	"slices"
	"strconv"
	"strings"
)

const (
	maxOctal7  = 1<<21 - 1
	maxOctal11 = 1<<33 - 1
)

// AppendHeader appends the header of h to dst: one block, or, if a field does
// not fit there, an extended header of PAX records before it. The same h always
// gives the same bytes.
func AppendHeader(dst []byte, h *Header) []byte {
	prefix, name, fits := splitName(h.Name)
	if records := paxFor(h, fits); len(records) > 0 {
		dst = appendExtended(dst, h, records)
	}
	start := len(dst)
	dst = append(dst, emptyBlock[:]...)
	b := dst[start:]
	copy(b[0:100], name)
	octal(b[100:108], int64(h.Mode))
	octal(b[108:116], inRange(h.UID, maxOctal7))
	octal(b[116:124], inRange(h.GID, maxOctal7))
	octal(b[124:136], inRange(h.Size, maxOctal11))
	octal(b[136:148], inRange(h.Mtime.Sec, maxOctal11))
	b[156] = h.Type
	copy(b[157:257], h.Link)
	copy(b[257:265], "ustar\x0000")
	octal(b[329:337], int64(h.Major))
	octal(b[337:345], int64(h.Minor))
	copy(b[345:500], prefix)
	sum, _ := checksums(b)
	octal(b[148:155], sum) // six digits and NUL, then the blank that the form wants
	b[155] = ' '
	return dst
}

var emptyBlock [BlockSize]byte

// splitName divides a name between the name and prefix fields.
func splitName(full string) (prefix, name string, fits bool) {
	if len(full) <= 100 {
		return "", full, true
	}
	// The slash between the two is not stored. A trailing one belongs to the name.
	if len(full) <= 256 {
		low := len(full) - 101 // the name after the slash has at most 100 bytes
		i := strings.LastIndexByte(full[:min(156, len(full)-1)], '/')
		if i > 0 && i >= low {
			return full[:i], full[i+1:], true
		}
	}
	return "", full[:100], false
}

// paxFor returns the records that h needs.
func paxFor(h *Header, nameFits bool) []byte {
	var out []byte
	if !nameFits {
		out = appendRecord(out, "path", h.Name)
	}
	if len(h.Link) > 100 {
		out = appendRecord(out, "linkpath", h.Link)
	}
	if h.Size > maxOctal11 {
		out = appendRecord(out, "size", strconv.FormatInt(h.Size, 10))
	}
	if h.UID < 0 || h.UID > maxOctal7 {
		out = appendRecord(out, "uid", strconv.FormatInt(h.UID, 10))
	}
	if h.GID < 0 || h.GID > maxOctal7 {
		out = appendRecord(out, "gid", strconv.FormatInt(h.GID, 10))
	}
	if t := h.Mtime; t.Nsec != 0 || t.Sec < 0 || t.Sec > maxOctal11 {
		out = appendRecord(out, "mtime", formatTime(t))
	}
	if len(h.Xattrs) > 0 {
		slices.SortFunc(h.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
		for _, x := range h.Xattrs {
			out = appendRecord(out, xattrPrefix+x.Name, x.Value)
		}
	}
	return out
}

// appendExtended appends a PAX header entry with the records as its data.
func appendExtended(dst []byte, h *Header, records []byte) []byte {
	base := strings.TrimRight(h.Name, "/")
	base = base[strings.LastIndexByte(base, '/')+1:]
	const dir = "PaxHeaders.0/" // as GNU tar and Go name them; readers ignore it
	dst = AppendHeader(dst, &Header{Name: dir + base[:min(len(base), 100-len(dir))], Type: typePax, Mode: 0o644, Size: int64(len(records))})
	dst = append(dst, records...)
	return append(dst, emptyBlock[:-len(records)&(BlockSize-1)]...)
}

// appendRecord appends "length key=value\n", where the length counts its own digits.
func appendRecord(dst []byte, key, value string) []byte {
	rest := len(key) + len(value) + 3 // blank, '=', newline
	n := rest + len(strconv.Itoa(rest))
	n = rest + len(strconv.Itoa(n))
	dst = strconv.AppendInt(dst, int64(n), 10)
	dst = append(dst, ' ')
	dst = append(dst, key...)
	dst = append(dst, '=')
	dst = append(dst, value...)
	return append(dst, '\n')
}

func formatTime(t Time) string {
	sec, nsec, sign := t.Sec, t.Nsec, ""
	if sec < 0 && nsec > 0 {
		sec, nsec = sec+1, 1e9-nsec
		if sec == 0 {
			sign = "-"
		}
	}
	out := sign + strconv.FormatInt(sec, 10)
	if nsec == 0 {
		return out
	}
	digits := strconv.FormatInt(nsec, 10)
	return out + "." + strings.TrimRight(strings.Repeat("0", 9-len(digits))+digits, "0")
}

// octal writes n in digits that fill b but for its last byte, which stays NUL.
func octal(b []byte, n int64) {
	for i := len(b) - 2; i >= 0; i-- {
		b[i] = byte('0' + n&7)
		n >>= 3
	}
}

// inRange returns n, or 0 if the field cannot hold it and a record says it.
func inRange(n, limit int64) int64 {
	if n < 0 || n > limit {
		return 0
	}
	return n
}
