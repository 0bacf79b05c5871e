package packing

import (
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// Compression is how layers are packed. The zero value is gzip.
type Compression int

// The compressions, by the names that --output type=oci,compression= has.
const (
	Gzip Compression = iota
	Zstd
	Uncompressed
)

// ParseCompression reads the name of a compression; "" is gzip.
func ParseCompression(name string) (Compression, error) {
	switch name {
	case "", "gzip":
		return Gzip, nil
	case "zstd":
		return Zstd, nil
	case "uncompressed":
		return Uncompressed, nil
	}
	return 0, errdefs.New(errdefs.InvalidArgument, "unsupported layer compression type %q", name).WithHint("there are gzip, zstd and uncompressed")
}

// String returns the name.
func (c Compression) String() string { return [...]string{"gzip", "zstd", "uncompressed"}[c] }

// mediaTypeDockerPlain is a Docker layer as it is: Docker's own list of media types has it for its archives.
const mediaTypeDockerPlain = "application/vnd.docker.image.rootfs.diff.tar"

// MediaType returns the type of a layer, in Docker's words or OCI's.
func (c Compression) MediaType(docker bool) string {
	switch {
	case docker && c == Gzip:
		return oci.MediaTypeDockerLayer
	case docker:
		return mediaTypeDockerPlain
	case c == Gzip:
		return oci.MediaTypeLayerGzip
	case c == Zstd:
		return oci.MediaTypeLayerZstd
	}
	return oci.MediaTypeLayer
}

// gzipBlock is how much of a layer is packed as one piece. The pieces are packed
// at the same time, and the bytes that come out depend on the piece's size only.
const gzipBlock = 1 << 20

// writer packs what is written to it; level 0 is the compression's default.
func (c Compression) writer(w io.Writer, level int) (io.WriteCloser, error) {
	switch c {
	case Gzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		z, err := pgzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "compression level %d: %w", level, err)
		}
		if err := z.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0)); err != nil {
			return nil, fmt.Errorf("prepare gzip: %w", err)
		}
		return z, nil
	case Zstd:
		l := zstd.SpeedDefault
		if level != 0 {
			l = zstd.EncoderLevelFromZstd(level)
		}
		return zstd.NewWriter(w, zstd.WithEncoderLevel(l), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)))
	}
	return plain{w}, nil
}

// plain is a compression that does nothing.
type plain struct{ io.Writer }

func (plain) Close() error { return nil }
