package packing

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"berth/internal/atomicfile"
	"berth/internal/oci"
)

// Blob is a packed layer.
type Blob struct {
	oci.Descriptor
	DiffID oci.Digest // of the tar inside
	File   *os.File   // without a name
}

// Close gives the file back.
func (b *Blob) Close() error { return b.File.Close() }

// Options say how a layer is packed.
type Options struct {
	Compression Compression
	Level       int  // 0: the compression's default
	Docker      bool // name the result in Docker's words
}

// Pack packs what tar writes, into a file on the file system of dir.
func Pack(dir string, o Options, tar func(io.Writer) error) (_ *Blob, err error) {
	f, err := atomicfile.Nameless(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	plain, packed := sha256.New(), sha256.New()
	buffer := bufio.NewWriterSize(f, 256<<10)
	count := &counter{w: io.MultiWriter(buffer, packed)}
	z, err := o.Compression.writer(count, o.Level)
	if err != nil {
		return nil, err
	}
	if err := tar(io.MultiWriter(plain, z)); err != nil {
		z.Close() //nolint:errcheck // nothing of it is kept
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	if err := buffer.Flush(); err != nil {
		return nil, err
	}
	d := oci.Descriptor{MediaType: o.Compression.MediaType(o.Docker), Digest: oci.DigestOfSum(packed.Sum(nil)), Size: count.n}
	return &Blob{Descriptor: d, DiffID: oci.DigestOfSum(plain.Sum(nil)), File: f}, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
