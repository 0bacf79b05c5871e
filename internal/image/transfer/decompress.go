package transfer

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
	"github.com/ulikunitz/xz"

	"berth/internal/errdefs"
)

const (
	// maxWindow bounds the memory that a zstd stream may ask for. The format's
	// specification wants decoders to have 8 MiB; the highest levels of zstd use 64.
	maxWindow = 64 << 20
	// readAhead blocks of gunzipped data wait while the unpacker is busy.
	readAhead, readAheadBlock = 4, 512 << 10
)

// unpacked is the tar inside a packed stream.
type unpacked struct {
	io.Reader
	close func() error
	taken *counter
}

// Close ends the reading. The packed stream must not block any more.
func (u *unpacked) Close() error { return u.close() }

// counter counts what was read through it.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// unpackLayer recognises the compression of a layer by its first bytes, as
// Docker does: media types are often wrong.
func unpackLayer(r io.Reader) (*unpacked, error) {
	c := &counter{r: r}
	b := bufio.NewReaderSize(c, 64<<10)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF { //nolint:errorlint // Peek returns it bare; a short stream is judged by the tar reader
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := pgzip.NewReaderN(b, readAheadBlock, readAhead)
		if err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "cannot read gzip stream: %w", err)
		}
		return &unpacked{z, z.Close, c}, nil
	case isZstd(head):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "cannot read zstd stream: %w", err)
		}
		return &unpacked{z, func() error { z.Close(); return nil }, c}, nil
	}
	return &unpacked{b, func() error { return nil }, c}, nil
}

// isZstd accepts a frame (RFC 8878, 3.1.1) or a skippable frame, with which some writers begin.
func isZstd(head []byte) bool {
	return bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2a, 0x4d, 0x18})
}

// unpackArchive is unpackLayer for what a user hands over, which may be packed
// in two more ways. No other program is run to unpack, as Docker did with the
// xz of whatever PATH said (CVE-2026-41567).
func unpackArchive(r io.Reader) (*unpacked, error) {
	c := &counter{r: r}
	b := bufio.NewReaderSize(c, 64<<10)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF { //nolint:errorlint // as above
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("BZh")):
		return &unpacked{bzip2.NewReader(b), func() error { return nil }, c}, nil
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		z, err := xz.NewReader(b)
		if err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "cannot read xz stream: %w", err)
		}
		return &unpacked{z, func() error { return nil }, c}, nil
	}
	u, err := unpackLayer(b)
	if err != nil {
		return nil, err
	}
	u.taken = c
	return u, nil
}
