package solve

import (
	"crypto/sha256"
	"hash"

	"berth/internal/oci"
)

type hasher struct{ hash.Hash }

func newHash() hasher { return hasher{sha256.New()} }

func (h hasher) sum() oci.Digest { return oci.DigestOfSum(h.Sum(nil)) }
