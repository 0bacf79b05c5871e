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

// Blob returns the bytes [from, to) of a blob: exactly as many, or an error. A
// connection that breaks or stalls is made again where it ended. The digest is
// the caller's to compare, since only who reads from the start can. ctx must
// live until Close.
//
// A registry need not know ranges, and may then send the whole blob. What comes
// before from is read and thrown away, and whole is true: the reader goes on to
// the blob's end, whatever to is.
func (r *Repository) Blob(ctx context.Context, d oci.Descriptor, from, to int64) (_ io.ReadCloser, whole bool, err error) {
	if from < 0 || to < from || to > d.Size {
		return nil, false, errdefs.New(errdefs.Internal, "blob %s has %d bytes, and no range from %d to %d", d.Digest, d.Size, from, to)
	}
	b := &blob{r: r, ctx: ctx, d: d, at: from, end: to}
	if err := b.connect(); err != nil {
		return nil, false, err
	}
	if b.noRanges && to < d.Size {
		b.end = d.Size
	}
	return b, b.noRanges, nil
}

// maxBreaks is how often in a row a connection may break without bringing a byte.
const maxBreaks = 5

// blob is a download that survives its connections.
type blob struct {
	r      *Repository
	ctx    context.Context //nolint:containedctx // a reader has no other way to get it
	d      oci.Descriptor
	at     int64 // the next byte
	end    int64 // the byte after the last
	skip   int64 // bytes that the body brings before
	body   io.ReadCloser
	stall  *time.Timer
	cancel context.CancelCauseFunc
	breaks int
	// noRanges is set when the registry answered a question for a range with
	// something else. From then on the blob is asked for as a whole.
	noRanges bool
}

var errStalled = errors.New("the connection brings nothing")

// connect asks for the rest of the blob.
func (b *blob) connect() error {
	if b.at >= b.end {
		b.body = http.NoBody
		return nil
	}
	ctx, cancel := context.WithCancelCause(b.ctx)
	resp, err := b.r.get(ctx, http.MethodGet, "/blobs/"+string(b.d.Digest), b.header())
	if err == nil && b.mistaken(resp) {
		resp.Body.Close() //nolint:errcheck // it is not read
		b.noRanges = true
		resp, err = b.r.get(ctx, http.MethodGet, "/blobs/"+string(b.d.Digest), nil)
	}
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

// partial reports whether a range is to be asked for.
func (b *blob) partial() bool { return !b.noRanges && (b.at > 0 || b.end < b.d.Size) }

// header asks for a closed range: some servers answer 416 to an open one.
func (b *blob) header() http.Header {
	h := http.Header{}
	if b.partial() {
		h.Set("Range", fmt.Sprintf("bytes=%d-%d", b.at, b.end-1))
	}
	return h
}

// mistaken reports whether an answer shows that the server, or a cache before
// it, does not do ranges right: then the whole blob is asked for.
func (b *blob) mistaken(resp *http.Response) bool {
	return b.partial() && (resp.StatusCode == http.StatusRequestedRangeNotSatisfiable ||
		resp.StatusCode == http.StatusPartialContent && !b.isAsked(resp.Header.Get("Content-Range")))
}

// isAsked compares a Content-Range with the range that was asked for (RFC 9110,
// 14.4): "bytes 0-99/1000", or "bytes 0-99/*" if the length is not known.
func (b *blob) isAsked(header string) bool {
	got, length, _ := strings.Cut(header, "/")
	return got == fmt.Sprintf("bytes %d-%d", b.at, b.end-1) && (length == "*" || length == strconv.FormatInt(b.d.Size, 10))
}

// accept takes the body of a response over if it is what was asked for.
func (b *blob) accept(resp *http.Response) error {
	skip, length := int64(0), b.d.Size
	switch {
	case resp.StatusCode == http.StatusOK:
		if b.partial() {
			b.noRanges = true
		}
		skip = b.at
	case resp.StatusCode == http.StatusPartialContent && b.partial():
		length = b.end - b.at
	case resp.StatusCode == http.StatusPartialContent:
		resp.Body.Close()
		return errdefs.New(errdefs.Internal, "cannot fetch %s: asked for bytes from %d on, got %q", b.d.Digest, b.at, printable(resp.Header.Get("Content-Range")))
	default:
		defer resp.Body.Close()
		return refused(b.r.name, string(b.d.Digest), answer(resp))
	}
	if resp.ContentLength >= 0 && resp.ContentLength != length {
		resp.Body.Close()
		return errdefs.New(errdefs.InvalidArgument, "blob %s is %d bytes long, its descriptor says %d", b.d.Digest, resp.ContentLength, length)
	}
	b.body, b.skip = resp.Body, skip
	return nil
}

// Read reads on, over as many connections as it takes.
func (b *blob) Read(p []byte) (int, error) {
	for {
		if b.at == b.end && b.end < b.d.Size {
			return 0, io.EOF // of a whole blob there may be more
		}
		if b.body == nil {
			if err := b.reconnect(); err != nil {
				return 0, err
			}
		}
		due := b.end - b.at
		switch {
		case b.skip > 0:
			due = b.skip
		case b.end == b.d.Size:
			due++ // one byte more than is due tells a blob that is too long
		}
		n, err := b.body.Read(p[:min(int64(len(p)), due)])
		if b.skip > 0 && n > 0 {
			b.skip -= int64(n)
			b.stall.Reset(b.r.stall)
			if err == nil {
				continue
			}
			n = 0
		}
		if int64(n) > b.end-b.at {
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
		case errors.Is(err, io.EOF) && b.at == b.end:
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
		if err := sleep(b.ctx, 100*time.Millisecond<<b.breaks); err != nil {
			return err
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
