package oci

import (
	"crypto/sha256"
	"encoding/hex"

	"berth/internal/errdefs"
)

// Digest names bytes by their hash: "sha256:" and 64 lower-case hex digits.
// Only SHA-256 is accepted, as every registry in use serves it.
type Digest string

const digestPrefix = "sha256:"

// ParseDigest checks s. No file name may be built from an unchecked digest.
func ParseDigest(s string) (Digest, error) {
	if len(s) == len(digestPrefix)+2*sha256.Size && s[:len(digestPrefix)] == digestPrefix {
		ok := true
		for _, c := range []byte(s[len(digestPrefix):]) {
			ok = ok && (c >= '0' && c <= '9' || c >= 'a' && c <= 'f')
		}
		if ok {
			return Digest(s), nil
		}
	}
	return "", errdefs.New(errdefs.InvalidArgument, "invalid digest %q", s).WithHint(`a digest is "sha256:" and 64 lower-case hex digits`)
}

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return DigestOfSum(sum[:])
}

// DigestOfSum returns the digest whose SHA-256 sum is given.
func DigestOfSum(sum []byte) Digest { return Digest(digestPrefix + hex.EncodeToString(sum)) }

// Hex returns the 64 digits. The digest must have been checked.
func (d Digest) Hex() string { return string(d[len(digestPrefix):]) }

// String returns the digest as written.
func (d Digest) String() string { return string(d) }
