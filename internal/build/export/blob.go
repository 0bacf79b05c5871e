package export

import (
	"bufio"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
)

// blob is a packed layer.
type blob struct {
	oci.Descriptor
	diffID oci.Digest
	file   *os.File // without a name
}

// unpacked is a layer to be packed.
type unpacked struct {
	snapshot string
	latest   *time.Time
}

// stack returns all layers of a result, those of its base image first.
func (s *stores) stack(r *solve.Result, rewrite bool) ([]unpacked, error) {
	var all []unpacked
	if r.Base != nil {
		for _, chain := range catalog.ChainIDs(r.Base.Config.RootFS.DiffIDs) {
			l, err := s.images.Layer(chain)
			if err != nil {
				return nil, err
			}
			all = append(all, unpacked{snapshot: l.Snapshot})
		}
	}
	var latest *time.Time
	if rewrite {
		latest = r.Plan.Epoch
	}
	for _, l := range r.Layers {
		all = append(all, unpacked{l.ID, latest})
	}
	return all, nil
}

// pack packs layers, several at a time. The caller closes the files of those
// that are returned, also with an error.
func (s *stores) pack(ctx context.Context, layers []unpacked, o *ArchiveOptions) ([]*blob, error) {
	blobs := make([]*blob, len(layers))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, l := range layers {
		g.Go(func() (err error) {
			blobs[i], err = s.packOne(ctx, l, o)
			return errdefs.Wrap(err, "pack", "layer "+l.snapshot)
		})
	}
	return blobs, g.Wait()
}

func (s *stores) packOne(ctx context.Context, l unpacked, o *ArchiveOptions) (*blob, error) {
	f, err := nameless(s.layers.Dir())
	if err != nil {
		return nil, err
	}
	b := &blob{file: f}
	tar, packed := sha256.New(), sha256.New()
	buffer := bufio.NewWriterSize(f, 256<<10)
	count := &counter{w: io.MultiWriter(buffer, packed)}
	z, err := o.Compression.writer(count, o.Level)
	if err != nil {
		return b, err
	}
	if err := s.diff(ctx, io.MultiWriter(tar, z), l.snapshot, l.latest); err != nil {
		z.Close()
		return b, err
	}
	if err := z.Close(); err != nil {
		return b, err
	}
	if err := buffer.Flush(); err != nil {
		return b, err
	}
	b.diffID = oci.DigestOfSum(tar.Sum(nil))
	b.Descriptor = oci.Descriptor{MediaType: o.Compression.mediaType(o.Docker), Digest: oci.DigestOfSum(packed.Sum(nil)), Size: count.n}
	return b, nil
}

func closeAll(blobs []*blob) {
	for _, b := range blobs {
		if b != nil {
			b.file.Close()
		}
	}
}

// nameless makes a file that is gone when it is closed, however that comes about.
func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir+"/(unnamed)"), nil
	}
	// Not every file system can (overlay before 6.3): the name lives for a moment.
	f, err := os.CreateTemp("", "berth-layer-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
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
