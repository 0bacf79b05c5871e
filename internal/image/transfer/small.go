package transfer

import (
	"context"
	"errors"
	"io"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// fetchSmall fetches a blob that is a document.
func fetchSmall(ctx context.Context, src Source, d oci.Descriptor) ([]byte, error) {
	if d.Size > oci.MaxDocument {
		return nil, errdefs.New(errdefs.InvalidArgument, "%s claims to be a document of %d bytes: at most %d are accepted", d.Digest, d.Size, oci.MaxDocument)
	}
	raw, err := fetchOnce(ctx, src, d)
	if x, ok := src.(Doubter); ok && errors.Is(err, errDigest) && x.Doubt(d.Digest) {
		return fetchOnce(ctx, src, d)
	}
	return raw, err
}

func fetchOnce(ctx context.Context, src Source, d oci.Descriptor) ([]byte, error) {
	r, _, err := src.Blob(ctx, d, 0, d.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readVerified(r, d)
}

// readVerified reads a document and compares it with its descriptor.
func readVerified(r io.Reader, d oci.Descriptor) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(raw)) != d.Size || oci.DigestOf(raw) != d.Digest {
		return nil, &errdefs.Error{Kind: errdefs.InvalidArgument, Op: "verify", Subject: string(d.Digest), Err: errDigest}
	}
	return raw, nil
}
