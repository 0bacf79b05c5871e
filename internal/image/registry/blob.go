package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

// Blob returns the bytes of a blob from offset on: exactly as many as d.Size
// leaves, or an error. A connection that breaks or stalls is made again where it
// ended. The digest is the caller's to compare, since only who reads from the
// start can. ctx must live until Close.
func (r *Repository) Blob(ctx context.Context, d oci.Descriptor, offset int64) (io.ReadCloser, error) {
	b := &blob{r: r, ctx: ctx, d: d, at: offset}
	if err := b.connect(); err != nil {
		return nil, err
	}
	return b, nil
}

// maxBreaks is how often in a row a connection may break without bringing a byte.
const maxBreaks = 5

// blob is a download that survives its connections.
type blob struct {
	r      *Repository
	ctx    context.Context //nolint:containedctx // a reader has no other way to get it
	d      oci.Descriptor
	at     int64
	body   io.ReadCloser
	stall  *time.Timer
	cancel context.CancelCauseFunc
	breaks int
}

var errStalled = errors.New("the connection brings nothing")

// connect asks for the rest of the blob.
func (b *blob) connect() error {
	if b.at >= b.d.Size {
		b.body = http.NoBody
		return nil
	}
	ctx, cancel := context.WithCancelCause(b.ctx)
	resp, err := b.r.get(ctx, http.MethodGet, "/blobs/"+string(b.d.Digest), b.header())
	if err == nil {
		err = b.accept(resp)
	}
	if err != nil {
		cancel(nil)
		return err
	}
	b.cancel = cancel
	b.stall = time.AfterFunc(b.r.stall, func() { cancel(errStalled) })
	return nil
}

// header asks for a closed range: some servers answer 416 to an open one.
func (b *blob) header() http.Header {
	h := http.Header{}
	if b.at > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", b.at, b.d.Size-1))
	}
	return h
}

// accept takes the body of a response over if it is what was asked for.
func (b *blob) accept(resp *http.Response) error {
	skip, length := int64(0), b.d.Size
	switch {
	case resp.StatusCode == http.StatusOK:
		skip = b.at // the server does not know ranges
	case resp.StatusCode == http.StatusPartialContent && b.at > 0:
		length -= b.at
		if first, _, _ := strings.Cut(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes "), "-"); first != strconv.FormatInt(b.at, 10) {
			resp.Body.Close()
			return errdefs.New(errdefs.Internal, "cannot fetch %s: asked for bytes from %d on, got %q", b.d.Digest, b.at, printable(resp.Header.Get("Content-Range")))
		}
	default:
		defer resp.Body.Close()
		return refused(b.r.name, string(b.d.Digest), answer(resp))
	}
	if resp.ContentLength >= 0 && resp.ContentLength != length {
		resp.Body.Close()
		return errdefs.New(errdefs.InvalidArgument, "blob %s is %d bytes long, its descriptor says %d", b.d.Digest, resp.ContentLength, length)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, skip); err != nil {
		resp.Body.Close()
		return &errdefs.Error{Kind: errdefs.Unavailable, Op: "fetch", Subject: string(b.d.Digest), Err: withoutQuery(err)}
	}
	b.body = resp.Body
	return nil
}

// Read reads on, over as many connections as it takes.
func (b *blob) Read(p []byte) (int, error) {
	for {
		if b.body == nil {
			if err := b.reconnect(); err != nil {
				return 0, err
			}
		}
		// One byte more than is due tells a blob that is too long.
		n, err := b.body.Read(p[:min(int64(len(p)), b.d.Size-b.at+1)])
		if int64(n) > b.d.Size-b.at {
			return 0, errdefs.New(errdefs.InvalidArgument, "blob %s is longer than the %d bytes its descriptor says", b.d.Digest, b.d.Size)
		}
		if n > 0 {
			b.at += int64(n)
			b.breaks = 0
			if b.stall != nil {
				b.stall.Reset(b.r.stall)
			}
		}
		switch {
		case err == nil || n > 0 && !errors.Is(err, io.EOF):
			return n, nil // an error comes again with the next read
		case errors.Is(err, io.EOF) && b.at == b.d.Size:
			return n, io.EOF
		}
		if err := b.broken(err); err != nil {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// broken gives the connection up. It returns an error if there shall be no other.
func (b *blob) broken(err error) error {
	b.hangUp()
	if cause := context.Cause(b.ctx); cause != nil {
		return cause
	}
	if b.breaks++; b.breaks > maxBreaks {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("the registry ends it after %d of %d bytes", b.at, b.d.Size)
		}
		return &errdefs.Error{Kind: errdefs.Unavailable, Op: "fetch", Subject: string(b.d.Digest), Err: withoutQuery(err),
			Hint: "try again: what was downloaded is kept"}
	}
	return nil
}

// reconnect waits a little longer after each failure.
func (b *blob) reconnect() error {
	for {
		wait := time.NewTimer(100 * time.Millisecond << b.breaks)
		select {
		case <-wait.C:
		case <-b.ctx.Done():
			wait.Stop()
			return context.Cause(b.ctx)
		}
		err := b.connect()
		if err == nil || errdefs.KindOf(err) != errdefs.Unavailable {
			return err
		}
		if err := b.broken(err); err != nil {
			return err
		}
	}
}

func (b *blob) hangUp() {
	if b.body != nil {
		b.body.Close() //nolint:errcheck // nothing more is read from it
		b.body = nil
	}
	if b.stall != nil {
		b.stall.Stop()
		b.cancel(nil)
		b.stall = nil
	}
}

// Close ends the download.
func (b *blob) Close() error {
	b.hangUp()
	return nil
}
