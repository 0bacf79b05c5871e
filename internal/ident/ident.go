// Package ident provides the identifiers of containers, layers and execs: 32
// random bytes written as 64 lower-case hex digits, shown to users as the
// first 12. A user may name an object by any prefix that is unique.
package ident

import (
	"encoding/base32"
	"encoding/hex"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// Len is the length of a full identifier in characters.
const Len = 64

// ShortLen is the length that tables print.
const ShortLen = 12

// New returns a new random identifier. Its first twelve digits are never all
// decimal, so that a short id used as a host name is no number.
func New() string {
	var b [Len / 2]byte
	for {
		random(b[:])
		id := hex.EncodeToString(b[:])
		for _, c := range id[:ShortLen] {
			if c > '9' {
				return id
			}
		}
	}
}

// NewLink returns a new 26-character name (base32 without padding, upper case)
// for a short link to a layer. Overlay's mount options are limited to one page
// (4 KiB), so lower directories are named by links of this length.
func NewLink() string {
	var b [16]byte
	random(b[:])
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
}

// random fills b from the kernel's generator. Package crypto/rand would set up
// a generator of its own first, which costs a tenth of a millisecond.
func random(b []byte) {
	for {
		n, err := unix.Getrandom(b, 0)
		if err == nil && n == len(b) {
			return // up to 256 bytes come whole (getrandom(2))
		}
		if err != nil && err != unix.EINTR {
			panic("ident: getrandom: " + err.Error()) // no kernel since 3.17
		}
	}
}

// Short returns the first twelve characters of an id, or the id if it is shorter.
func Short(id string) string {
	if len(id) > ShortLen {
		return id[:ShortLen]
	}
	return id
}

// Valid reports whether s is a full identifier.
func Valid(s string) bool { return len(s) == Len && IsPrefix(s) }

// IsPrefix reports whether s could be the beginning of an identifier.
func IsPrefix(s string) bool {
	if s == "" || len(s) > Len {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Resolve returns the one id among ids that begins with prefix. noun names the
// kind of object in the error ("container"), whose kind is NotFound or, for an
// ambiguous prefix, InvalidArgument.
func Resolve(prefix string, ids []string, noun string) (string, error) {
	found := ""
	if IsPrefix(prefix) {
		for _, id := range ids {
			if len(id) < len(prefix) || id[:len(prefix)] != prefix {
				continue
			}
			if found != "" && found != id {
				return "", errdefs.New(errdefs.InvalidArgument, "multiple %ss begin with %q", noun, prefix).WithHint("type more of the id")
			}
			found = id
		}
	}
	if found == "" {
		return "", errdefs.New(errdefs.NotFound, "no such %s: %s", noun, prefix)
	}
	return found, nil
}
