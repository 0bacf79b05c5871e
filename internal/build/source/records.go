package source

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// The file of a memory is
//
//	8 bytes   magic
//	n times   16 bytes key, 32 bytes sum; sorted by key, no key twice
//	4 bytes   CRC-32C of all before, little endian
//
// Keys are digests, so they are spread evenly and a key's place can be guessed
// from its first bytes: a look-up reads two or three records, without a table
// being made of the file first.
const (
	magic      = "berthsm1"
	recordSize = len(key{}) + len(Sum{})
	maxFile    = len(magic) + maxRecords*recordSize + crc32.Size
)

// record is one remembered sum.
type record struct {
	key key
	sum Sum
}

// records are the n records of a file, as they stand in it.
type records []byte

func (r records) len() int { return len(r) / recordSize }

func (r records) key(i int) key { return key(r[i*recordSize:]) }

func (r records) sum(i int) Sum { return Sum(r[i*recordSize+len(key{}):]) }

// find returns the place of k: it starts where k would be if keys were spread
// quite evenly, and doubles its steps until k is between two of them.
func (r records) find(k key) (int, bool) {
	n := r.len()
	if n == 0 {
		return 0, false
	}
	guess := int(uint64(binary.BigEndian.Uint32(k[:])) * uint64(n) >> 32)
	low, high := guess, guess+1 // k is in [low, high) if anywhere, once both loops have run
	for step := 8; low > 0 && r.compare(low, k) > 0; step *= 2 {
		low, high = max(low-step, 0), low
	}
	for step := 8; high < n && r.compare(high, k) <= 0; step *= 2 {
		low, high = high, min(high+step, n)
	}
	for low < high {
		middle := int(uint(low+high) >> 1)
		switch c := r.compare(middle, k); {
		case c == 0:
			return middle, true
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return 0, false
}

func (r records) compare(i int, k key) int {
	return bytes.Compare(r[i*recordSize:i*recordSize+len(k)], k[:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeRecords makes a file of all, whose order it changes.
func encodeRecords(all []record) []byte {
	slices.SortFunc(all, func(a, b record) int { return bytes.Compare(a.key[:], b.key[:]) })
	all = slices.CompactFunc(all, func(a, b record) bool { return a.key == b.key })
	out := make([]byte, 0, len(magic)+len(all)*recordSize+crc32.Size)
	out = append(out, magic...)
	for i := range all {
		out = append(out, all[i].key[:]...)
		out = append(out, all[i].sum[:]...)
	}
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

// decodeRecords returns nil for a file that is not whole.
func decodeRecords(b []byte) records {
	if len(b) < len(magic)+crc32.Size || string(b[:len(magic)]) != magic {
		return nil
	}
	body, check := b[len(magic):len(b)-crc32.Size], b[len(b)-crc32.Size:]
	if len(body)%recordSize != 0 || binary.LittleEndian.Uint32(check) != crc32.Checksum(b[:len(b)-crc32.Size], castagnoli) {
		return nil
	}
	return records(body)
}

// readRecords reads a file of records; what cannot be read is as good as none.
func readRecords(path string) records {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > int64(maxFile) {
		return nil
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil
	}
	return decodeRecords(b)
}
