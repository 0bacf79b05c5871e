package transfer

import (
	"context"
	"errors"
	"sync/atomic"

	"berth/internal/oci"
)

// staleError says that a blob was put together from an earlier download that was
// damaged, or came from one place of several: another try may bring another end.
type staleError struct{ err error }

func (e *staleError) Error() string { return e.err.Error() }
func (e *staleError) Unwrap() error { return e.err }

// download is a layer that comes from a registry, as the unpacker sees it.
type download struct {
	spoolReader
	cancel context.CancelCauseFunc
	filled chan struct{} // closed when the download has ended
	given  func() bool   // the caller has given up
	src    Source
	halted atomic.Bool // Stop ended it, and nothing before
}

// startDownload begins to fetch a blob.
func (s *Store) startDownload(ctx context.Context, src Source, d oci.Descriptor, id string, report Report) (*download, error) {
	p, err := s.openSpool(d)
	if err != nil {
		return nil, err
	}
	outer := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	dl := &download{cancel: cancel, src: src, filled: make(chan struct{}), given: func() bool { return outer.Err() != nil }}
	// The two halves report to one line of the display: unpacking is shown from
	// when the download is complete.
	dl.spoolReader = spoolReader{p: p, on: func(at int64) {
		if p.complete() {
			report.send(Event{ID: id, Status: Extracting, Current: at, Total: d.Size})
		}
	}}
	go func() {
		defer close(dl.filled)
		err := p.fill(ctx, src, s.ranges, func(have int64) {
			report.send(Event{ID: id, Status: Downloading, Current: have, Total: d.Size})
			if have == d.Size {
				report.send(Event{ID: id, Status: Verifying})
			}
		})
		if err == nil {
			report.send(Event{ID: id, Status: Downloaded})
		}
	}()
	return dl, nil
}

// Stop ends the download and the reading.
func (d *download) Stop(cause error) {
	if d.p.finish(cause) {
		d.halted.Store(true)
	}
	d.cancel(cause)
}

// Finish waits for the download's end and decides what becomes of the file.
func (d *download) Finish(unpackErr error) error {
	wrong := false // it was the unpacking that failed first
	if unpackErr != nil {
		wrong = d.p.finish(unpackErr) || d.halted.Load()
		d.cancel(unpackErr)
	}
	<-d.filled
	d.cancel(nil)
	end := d.p.end()
	switch {
	case end == nil:
		return errors.Join(unpackErr, d.p.remove())
	case d.given() && !errors.Is(end, errDigest):
		return errors.Join(end, d.p.keep(end)) // interrupted: the next pull goes on from here
	case wrong, errors.Is(end, errDigest):
		// The bytes are wrong. If some are of an earlier download, or of a
		// mirror, those may be why.
		err := errors.Join(end, d.p.remove())
		if elsewhere := d.doubt(); elsewhere || d.p.kept > 0 {
			return &staleError{err}
		}
		return err
	}
	return errors.Join(end, d.p.keep(end))
}

// Doubter is a Source that has several places to fetch from.
type Doubter interface {
	// Doubt says that a blob's bytes were wrong. It reports whether there is a
	// place left to get others from, which Blob asks from then on.
	Doubt(d oci.Digest) bool
}

func (d *download) doubt() bool {
	src, ok := d.src.(Doubter)
	return ok && src.Doubt(d.p.d.Digest)
}
