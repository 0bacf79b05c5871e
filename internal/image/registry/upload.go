package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

const (
	// chunkSize is how much is sent at once to a registry that refused a whole
	// layer in one request (413), as a proxy before it may.
	chunkSize = 8 << 20
	// maxRestarts is how often an upload may begin anew.
	maxRestarts = 3
)

// Upload sends a blob. A connection that breaks or stalls is made again, and
// goes on from where the registry says it got; one that knows nothing of it any
// more gets the blob from the start. on is told how many bytes were sent.
//
// An upload is a session: POST begins it and answers with its URL (Location),
// PATCH adds bytes, PUT with the digest ends it (distribution specification,
// "pushing blobs"). Each answer may name another URL for the next step.
func (r *Repository) Upload(ctx context.Context, d oci.Descriptor, content io.ReaderAt, on func(sent int64)) error {
	u := &upload{r: r, d: d, content: content, on: on}
	for {
		done, err := u.step(ctx)
		if cause := context.Cause(ctx); err != nil && cause != nil {
			return cause
		}
		if err != nil {
			done, err = u.recover(ctx, err)
		}
		if done || err != nil {
			return err
		}
	}
}

// upload is one blob on its way.
type upload struct {
	r       *Repository
	d       oci.Descriptor
	content io.ReaderAt
	on      func(int64)

	at       *url.URL // of the session; nil: there is none
	sent     int64    // bytes that the registry has
	best     int64    // the most it ever had
	chunk    int64    // 0: all in one request
	breaks   int      // failures in a row without progress
	restarts int
}

// step takes the upload one request further.
func (u *upload) step(ctx context.Context) (done bool, err error) {
	switch {
	case u.at == nil:
		u.sent = 0
		u.at, err = u.r.begin(ctx, nil)
		return false, err
	case u.sent < u.d.Size:
		err = u.send(ctx)
		u.progress()
		return false, err
	}
	return u.finish(ctx)
}

// progress forgets the failures once the registry has more than ever.
func (u *upload) progress() {
	if u.sent > u.best {
		u.best, u.breaks = u.sent, 0
	}
}

// send sends what is left, or the next chunk of it.
func (u *upload) send(ctx context.Context) error {
	length := u.d.Size - u.sent
	if u.chunk > 0 {
		length = min(length, u.chunk)
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	if u.sent > 0 || u.chunk > 0 { // not with the usual single request: some registries know no ranges
		header.Set("Content-Range", fmt.Sprintf("%d-%d", u.sent, u.sent+length-1))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(u.r.stall, func() { cancel(errStalled) })
	defer stall.Stop()
	from := u.sent
	body := &part{content: u.content, from: from, length: length, on: func(n int64) {
		if n < length {
			stall.Reset(u.r.stall)
		} else {
			stall.Stop() // the registry may take its time to answer: the transport's limit holds
		}
		u.on(from + n)
	}}
	resp, err := u.r.write(ctx, http.MethodPatch, u.at.String(), header, body, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusAccepted, http.StatusNoContent, http.StatusCreated: // the specification has the first
		u.sent += length
		return u.moved(resp)
	case http.StatusRequestEntityTooLarge:
		if u.chunk == 0 && u.d.Size > chunkSize {
			u.chunk, u.at = chunkSize, nil
			return nil
		}
	case http.StatusRequestedRangeNotSatisfiable, http.StatusNotFound:
		return u.startAgain(answer(resp))
	}
	return u.r.denied(answer(resp))
}

// finish tells the registry the digest, which it compares.
func (u *upload) finish(ctx context.Context) (done bool, err error) {
	at := *u.at
	query := at.Query()
	query.Set("digest", string(u.d.Digest))
	at.RawQuery = query.Encode()
	resp, err := u.r.write(ctx, http.MethodPut, at.String(), http.Header{"Content-Type": {"application/octet-stream"}}, nil, "")
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusNoContent {
		return true, nil
	}
	a := answer(resp)
	switch resp.StatusCode {
	case http.StatusNotFound: // this request may be the second, and the answer to the first lost
		if has, err := u.r.HasBlob(ctx, u.d); has || err != nil {
			return has, err
		}
		return false, u.startAgain(a)
	case http.StatusRequestedRangeNotSatisfiable, http.StatusBadRequest: // after broken connections the two may count differently
		return false, u.startAgain(a)
	}
	return false, u.r.denied(a)
}

// moved takes over the URL of the next step, if the answer has one.
func (u *upload) moved(resp *http.Response) (err error) {
	if resp.Header.Get("Location") != "" {
		u.at, err = location(resp)
	}
	return err
}

// startAgain gives the session up: the registry knows it no more, or has other
// bytes than we think.
func (u *upload) startAgain(a *Answer) error {
	if u.restarts++; u.restarts > maxRestarts {
		return u.r.denied(a)
	}
	u.at = nil
	return nil
}

// recover decides after a failure whether to go on, and finds out how far the
// registry got. It may have all of it: then the answer was lost.
func (u *upload) recover(ctx context.Context, failure error) (done bool, err error) {
	if errdefs.KindOf(failure) != errdefs.Unavailable {
		return false, failure
	}
	if u.breaks++; u.breaks > maxBreaks {
		return false, failure
	}
	pause := time.NewTimer(100 * time.Millisecond << u.breaks)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	if u.at == nil {
		return false, nil
	}
	if u.sent == u.d.Size {
		if has, err := u.r.HasBlob(ctx, u.d); err == nil && has {
			return true, nil
		}
	}
	resp, err := u.r.write(ctx, http.MethodGet, u.at.String(), nil, nil, "")
	if err != nil {
		return false, nil //nolint:nilerr // the next step meets the same, and counts it
	}
	defer resp.Body.Close()
	have, ok := received(resp)
	if !ok || have > u.d.Size {
		return false, u.startAgain(&Answer{Status: resp.StatusCode})
	}
	u.sent = have
	u.progress()
	return false, u.moved(resp)
}

// received reads from an answer how many bytes of an upload a registry has.
func received(resp *http.Response) (int64, bool) {
	if resp.StatusCode != http.StatusNoContent && resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return 0, false
	}
	return parseReceived(resp.Header.Get("Range"))
}

// parseReceived reads "0-99", which means 100 bytes. "0-0" is what registries
// say of none; one byte alone is not worth to be told apart.
func parseReceived(header string) (int64, bool) {
	first, last, ok := strings.Cut(strings.TrimPrefix(header, "bytes="), "-")
	if !ok || first != "0" {
		return 0, false
	}
	n, err := strconv.ParseUint(last, 10, 62)
	if err != nil {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return int64(n) + 1, true
}

// part is a piece of a blob as the body of a request.
type part struct {
	content      io.ReaderAt
	from, length int64
	on           func(sent int64)
}

// open returns a reader of it; a request that is sent again gets another one.
func (p *part) open() (io.ReadCloser, error) {
	return io.NopCloser(&partReader{p: p}), nil
}

type partReader struct {
	p  *part
	at int64
}

func (r *partReader) Read(b []byte) (int, error) {
	left := r.p.length - r.at
	if left == 0 {
		return 0, io.EOF
	}
	n, err := r.p.content.ReadAt(b[:min(int64(len(b)), left)], r.p.from+r.at)
	if n > 0 {
		r.at += int64(n)
		r.p.on(r.at)
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}
