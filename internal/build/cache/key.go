package cache

import (
	"encoding/binary"

	"berth/internal/oci"
)

// Key collects what a step reads, and digests it. Two keys are equal only if
// all fields were the same in the same order: every name and value is preceded
// by its length and every list by its number of values, so that no text can
// look like the border between two others.
type Key struct{ text []byte }

// keyVersion changes when the meaning of a field does: older records are then never hit.
const keyVersion = "berth build 1"

// NewKey begins the key of a kind of step.
func NewKey(kind string) *Key {
	k := &Key{}
	return k.Add(keyVersion, kind)
}

// Add adds a field of any number of values.
func (k *Key) Add(name string, values ...string) *Key {
	k.word(name)
	k.text = binary.AppendUvarint(k.text, uint64(len(values)))
	for _, v := range values {
		k.word(v)
	}
	return k
}

func (k *Key) word(s string) {
	k.text = binary.AppendUvarint(k.text, uint64(len(s)))
	k.text = append(k.text, s...)
}

// Sum returns the key.
func (k *Key) Sum() oci.Digest { return oci.DigestOf(k.text) }
