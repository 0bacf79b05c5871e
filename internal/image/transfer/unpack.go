package transfer

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/storage/archive"
)

// UnpackLayer unpacks the layer that a descriptor names into the directory dir,
// and closes r, which its bytes come from. They are compared with the digest;
// Result.DiffID is that of the tar inside. After an error the directory holds anything.
func UnpackLayer(ctx context.Context, dir string, d oci.Descriptor, r io.ReadCloser) (res archive.Result, err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	stop := context.AfterFunc(ctx, func() { r.Close() }) //nolint:errcheck // a Read that waits returns
	defer stop()
	sum := sha256.New()
	packed := &counter{r: io.TeeReader(io.LimitReader(r, d.Size+1), sum)}
	root, err := os.Open(dir)
	if err != nil {
		return res, err
	}
	defer root.Close()
	u, err := unpackLayer(packed)
	if err != nil {
		return res, err
	}
	res, err = archive.Apply(ctx, root, u, archive.ApplyOptions{Digest: true, Compressed: u.taken.n.Load})
	if err != nil {
		r.Close() //nolint:errcheck // the decompressor may be waiting for bytes
	}
	if err = errors.Join(err, u.Close()); err != nil {
		return res, err
	}
	if _, err := io.Copy(io.Discard, packed); err != nil { // what follows the end of the stream
		return res, err
	}
	if n := packed.n.Load(); n != d.Size || oci.DigestOfSum(sum.Sum(nil)) != d.Digest {
		return res, errdefs.New(errdefs.InvalidArgument, "%s has other bytes than its name says", d.Digest)
	}
	return res, nil
}
