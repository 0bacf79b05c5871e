package layout

import (
	"archive/tar"
	"context"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"time"

	"berth/internal/errdefs"
)

// maxUstar is the largest file that an old header can describe.
const maxUstar = 8<<30 - 1

// WriteTar writes the layout as a tar, the same bytes every time.
func (l *Layout) WriteTar(ctx context.Context, w io.Writer) error {
	t := tar.NewWriter(w)
	put := func(name string, mode int64, kind byte, c Content) error {
		if ctx.Err() != nil {
			return &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
		}
		h := &tar.Header{Name: name, Mode: mode, Typeflag: kind, Size: c.Size(), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
		if h.Size > maxUstar {
			h.Format = tar.FormatPAX
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		return c.Write(ctx, t)
	}
	document := func(name string, v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		return put(name, 0o644, tar.TypeReg, Bytes(b))
	}
	if l.Docker != nil {
		if err := document("manifest.json", l.Docker); err != nil {
			return err
		}
	}
	for _, dir := range [...]string{"blobs/", "blobs/sha256/"} {
		if err := put(dir, 0o755, tar.TypeDir, Bytes(nil)); err != nil {
			return err
		}
	}
	for _, d := range slices.Sorted(maps.Keys(l.Blobs)) {
		if err := put(blobPath(d), 0o644, tar.TypeReg, l.Blobs[d]); err != nil {
			return err
		}
	}
	if err := document("index.json", l.Index); err != nil {
		return err
	}
	if err := put("oci-layout", 0o644, tar.TypeReg, Bytes(layoutFile)); err != nil {
		return err
	}
	return t.Close()
}
