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
	i, from, to, ok := p.claim()
	if !ok {
		return nil
	}
	body, whole, err := src.Blob(ctx, p.d, from, to)
	if err != nil {
		return err
	}
	if whole {
		return p.copy(body, from, p.d.Size, on)
	}
	g, ctx := errgroup.WithContext(ctx)
	w := &workers{p: p, src: src, on: on}
	for range max(1, min(atOnce, p.unclaimed()+1)) - 1 {
		w.left++
		g.Go(func() error { return w.work(ctx) })
	}
	w.enter()
	g.Go(func() error {
		if err := p.copy(body, from, to, on); err != nil {
			return w.failed(i, err)
		}
		return w.more(ctx)
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

func (w *workers) enter() {
	w.mu.Lock()
	w.left++
	w.mu.Unlock()
}

// work is one worker from its first range to its last.
func (w *workers) work(ctx context.Context) error { return w.more(ctx) }

// more fetches ranges until none is left that nobody is at.
func (w *workers) more(ctx context.Context) error {
	for {
		i, from, to, ok := w.p.claim()
		if !ok {
			w.mu.Lock()
			w.left--
			w.mu.Unlock()
			return nil
		}
		body, _, err := w.src.Blob(ctx, w.p.d, from, to)
		if err == nil {
			err = w.p.copy(body, from, to, w.on)
		}
		if err != nil {
			return w.failed(i, err)
		}
	}
}

// failed ends a worker. A source may allow fewer connections than we make: as
// long as others are at work, one that gets no answer leaves its range to them.
func (w *workers) failed(i int, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left--
	w.p.unclaim(i)
	if w.left > 0 && errdefs.KindOf(err) == errdefs.Unavailable {
		return nil
	}
	return err
}

// copy writes the bytes [from, to) from body, and closes it.
func (p *spool) copy(body io.ReadCloser, from, to int64, on func(have int64)) error {
	defer body.Close()
	buf := make([]byte, 128<<10)
	for from < to {
		n, err := body.Read(buf[:min(int64(len(buf)), to-from)])
		if n > 0 {
			got, err := p.write(buf[:n], from)
			if err != nil {
				return err
			}
			from += int64(n)
			on(got)
		}
		if err != nil && !(errors.Is(err, io.EOF) && from == to) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
