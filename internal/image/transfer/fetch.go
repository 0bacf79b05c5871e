package transfer

import (
	"context"
	"errors"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"berth/internal/errdefs"
)

// download brings what is missing of the blob, in at most atOnce ranges at a
// time. The first range is asked for alone: its answer tells whether the source
// knows ranges at all.
func (p *spool) download(ctx context.Context, src Source, atOnce int, on func(have int64)) error {
	first, ok := p.claim()
	if !ok {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	body, whole, err := src.Blob(ctx, p.d, first.from, first.to)
	if err != nil {
		return err
	}
	if whole {
		return p.copy(body, first.from, p.d.Size, on)
	}
	w := &workers{p: p, src: src, on: on, left: p.workers(atOnce)}
	for range w.left - 1 {
		g.Go(func() error { return w.work(ctx) })
	}
	g.Go(func() error {
		if err := p.copy(body, first.from, first.to, on); err != nil {
			return w.failed(first, err)
		}
		return w.work(ctx)
	})
	return g.Wait()
}

// workers fetch the ranges of one blob.
type workers struct {
	p   *spool
	src Source
	on  func(have int64)

	mu   sync.Mutex
	left int // that have not ended
}

// work fetches ranges until none is left that nobody is at.
func (w *workers) work(ctx context.Context) error {
	for {
		part, ok := w.p.claim()
		if !ok {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.left--
			return nil
		}
		body, _, err := w.src.Blob(ctx, w.p.d, part.from, part.to)
		if err == nil {
			err = w.p.copy(io.NopCloser(io.LimitReader(body, part.to-part.from)), part.from, part.to, w.on)
			body.Close() //nolint:errcheck // nothing more is read from it
		}
		if err != nil {
			return w.failed(part, err)
		}
	}
}

// failed ends a worker. A source may allow fewer connections than we make: as
// long as others are at work, one that gets no answer leaves its range to them.
func (w *workers) failed(part part, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left--
	w.p.unclaim(part)
	if w.left > 0 && errdefs.KindOf(err) == errdefs.Unavailable {
		return nil
	}
	return err
}

// copy writes what body brings, which must be the bytes [from, to), and closes it.
func (p *spool) copy(body io.ReadCloser, from, to int64, on func(have int64)) error {
	defer body.Close()
	buf := make([]byte, 128<<10)
	for {
		n, err := body.Read(buf)
		if int64(n) > to-from {
			return errdefs.New(errdefs.InvalidArgument, "blob %s is longer than the %d bytes its descriptor says", p.d.Digest, p.d.Size)
		}
		if n > 0 {
			got, err := p.write(buf[:n], from)
			if err != nil {
				return err
			}
			from += int64(n)
			on(got)
		}
		switch {
		case errors.Is(err, io.EOF) && from == to:
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// claim is ranges.claim under the lock.
func (p *spool) claim() (part, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.parts.claim()
}

// unclaim gives a range back for others to go on with.
func (p *spool) unclaim(part part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parts.claimed[part.i] = false
}

// workers returns how many shall fetch the rest, one of which has its range already.
func (p *spool) workers(atOnce int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 1
	for i, h := range p.parts.have {
		if h < p.parts.length(i) && !p.parts.claimed[i] {
			n++
		}
	}
	return max(1, min(n, atOnce))
}
