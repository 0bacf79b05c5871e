package jsontext

import "encoding/binary"

// Most text has nothing to escape. These look at eight bytes at once: a byte is
// below n (n <= 128) if subtracting n borrows from its highest bit. A borrow
// can spread to the byte above, so a hit says only that there is one somewhere.
const (
	each = 0x0101010101010101 // times a byte: that byte in all eight places
	high = 0x8080808080808080
)

func below(x uint64, n uint64) uint64    { return (x - each*n) &^ x & high }
func contains(x uint64, c uint64) uint64 { return below(x^each*c, 1) }

// plain returns the length of a beginning of text, in steps of eight, that
// holds no quote, backslash or control character.
func plain(text []byte) (n int) {
	for ; len(text)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(text[n:])
		if below(x, ' ')|contains(x, '"')|contains(x, '\\') != 0 {
			break
		}
	}
	return n
}

// verbatim is plain for text that is to be written: it also stops at <, > and
// &, and at what is not ASCII.
func verbatim(text []byte) (n int) {
	for ; len(text)-n >= 8; n += 8 {
		x := binary.LittleEndian.Uint64(text[n:])
		if x&high|below(x, ' ')|contains(x, '"')|contains(x, '\\')|contains(x, '<')|contains(x, '>')|contains(x, '&') != 0 {
			break
		}
	}
	return n
}
