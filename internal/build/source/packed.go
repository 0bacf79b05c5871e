package source

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"berth/internal/errdefs"
	"berth/internal/storage/archive/ustar"
)

// maxWindow bounds the memory that a packed stream may ask for. The formats'
// specifications want decoders to have 8 MiB; the highest levels use 64.
const maxWindow = 64 << 20

// Packed is a stream that may be packed by gzip, bzip2, xz or zstd. Reading it
// gives what was packed. No other program is run to unpack, as Docker once did
// with the xz of whatever PATH said (CVE-2026-41567).
type Packed struct {
	io.Reader
	taken atomic.Int64
	from  io.Reader
	close func()
}

// packings are recognised by their first bytes; names are often wrong.
var packings = []struct {
	magic []byte
	open  func(p *Packed, r io.Reader) error
}{
	{[]byte{0x1f, 0x8b, 8}, openGzip},
	{[]byte("BZh"), func(p *Packed, r io.Reader) error { p.Reader = bzip2.NewReader(r); return nil }},
	{[]byte{0xfd, '7', 'z', 'X', 'Z', 0}, openXz},
	{[]byte{0x28, 0xb5, 0x2f, 0xfd}, openZstd},
}

// Unpack recognises how r is packed.
func Unpack(r io.Reader) (*Packed, error) {
	p := &Packed{from: r, close: func() {}}
	b := bufio.NewReaderSize((*counted)(p), 64<<10)
	head, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, k := range packings {
		if bytes.HasPrefix(head, k.magic) {
			if err := k.open(p, b); err != nil {
				return nil, errdefs.New(errdefs.InvalidArgument, "cannot unpack: %w", err)
			}
			return p, nil
		}
	}
	p.Reader = b
	return p, nil
}

func openGzip(p *Packed, r io.Reader) error {
	z, err := gzip.NewReader(r)
	p.Reader = z
	return err
}

func openXz(p *Packed, r io.Reader) error {
	z, err := xz.ReaderConfig{DictCap: maxWindow}.NewReader(r)
	p.Reader = z
	return err
}

func openZstd(p *Packed, r io.Reader) error {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err == nil {
		p.Reader, p.close = z, z.Close
	}
	return err
}

// Taken is how many packed bytes were read so far.
func (p *Packed) Taken() int64 { return p.taken.Load() }

// Close frees what unpacking needed; the stream itself stays open.
func (p *Packed) Close() { p.close() }

// counted is the stream below a Packed.
type counted Packed

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.taken.Add(int64(n))
	return n, err
}

// IsArchive reports whether a stream that begins with head is an archive rather
// than a Dockerfile (`docker build -` takes both): packed, or a tar archive. 512
// bytes of head are enough to tell.
func IsArchive(head []byte) bool {
	for _, k := range packings {
		if bytes.HasPrefix(head, k.magic) {
			return true
		}
	}
	return isTarHeader(head)
}

// isTarHeader checks the sum that every tar header holds of itself: the sum of
// its 512 bytes, with those of the sum (148 to 155) counted as spaces.
func isTarHeader(b []byte) bool {
	const at, length = 148, 8
	if len(b) < ustar.BlockSize {
		return false
	}
	var sum, unsigned, signed int64
	for i, c := range b[:ustar.BlockSize] {
		if i >= at && i < at+length {
			if c >= '0' && c <= '7' {
				sum = sum*8 + int64(c-'0')
			} else if c != ' ' && c != 0 {
				return false
			}
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c)) // as some old programs did
	}
	return sum > 0 && (sum == unsigned || sum == signed)
}
