package engine

import (
	"context"
	"errors"
	"time"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// Start starts a created or exited container. The attachment is nil unless asked for.
func (c *Containers) Start(ctx context.Context, ref string, o StartOptions) (*Attachment, error) {
	c.e.reconcile(ctx)
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return nil, err
	}
	return c.startID(ctx, id, o, 0)
}

// startID starts a container by id; restarts is the policy's count, 0 by hand.
func (c *Containers) startID(ctx context.Context, id string, o StartOptions, restarts int) (*Attachment, error) {
	st, err := c.e.store.LoadState(id)
	if err != nil {
		return nil, err
	}
	switch st.Status {
	case container.Running, container.Restarting:
		if o.Attach != nil {
			return c.Attach(ctx, id, *o.Attach)
		}
		return nil, nil
	case container.Paused:
		return nil, errdefs.New(errdefs.Conflict, "cannot start a paused container, try unpause instead").WithHint("berth unpause %s", ident.Short(id))
	}
	l, err := c.e.acquireEnded(ctx, id)
	if errors.Is(err, errAlive) {
		return c.startID(ctx, id, o, restarts)
	}
	if err != nil {
		return nil, err
	}
	rec, err := c.e.store.Load(id)
	if err != nil {
		return nil, errors.Join(err, l.end())
	}
	a, _, err := c.launch(ctx, rec, l, beginMonitor(rec.ID), o, restarts)
	return a, err
}

// launch starts the container under the lease, with the monitor that is being spawned for it.
func (c *Containers) launch(ctx context.Context, rec *container.Record, l *lease, m *spawning, o StartOptions, restarts int) (*Attachment, []string, error) {
	l.cgroupParent = rec.HostConfig.CgroupParent
	mon, warnings, err := c.e.start(ctx, rec, m, l, o.Attach, restarts)
	if err != nil {
		m.giveUp()
		c.e.noteFailedStart(rec.ID, err, restarts)
		return nil, warnings, errors.Join(err, l.end())
	}
	if o.Attach == nil {
		return nil, warnings, mon.Close()
	}
	return &Attachment{conn: mon}, warnings, nil
}

// acquireEnded takes the lease of a container that does not run, waiting for
// who works on it: its monitor may still be taking it down for a moment after
// the end was told, another command may be looking whether it is alive. errAlive
// means that the other has started the container.
func (e *Engine) acquireEnded(ctx context.Context, id string) (*lease, error) {
	for end := time.Now().Add(takeDownLimit); ; {
		l, err := e.acquireFinished(ctx, id)
		if err == nil || time.Now().After(end) || !errors.Is(err, errdefs.Conflict) {
			return l, err
		}
		if st, err := e.store.LoadState(id); err == nil && st.Status.Live() {
			return nil, errAlive
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// acquireFinished is acquire, and finishes the work of a holder that died.
func (e *Engine) acquireFinished(ctx context.Context, id string) (*lease, error) {
	l, err := e.acquire(id)
	if err != nil || !l.left {
		return l, err
	}
	if err := e.finishFor(ctx, id, l.cgroupParent); err != nil {
		return nil, errors.Join(err, l.pass())
	}
	l.left = false
	return l, nil
}

var errAlive = errors.New("the container has been started by another command")

// noteFailedStart keeps why a start failed; inspect shows it. It ends the work
// of a restart policy, if that started the container.
func (e *Engine) noteFailedStart(id string, cause error, restarts int) {
	_, err := e.store.Update(id, func(s *container.State) error {
		if restarts > 0 {
			if s.Status != container.Restarting {
				return errNoRestart
			}
			noRestart(s)
		}
		s.Error, s.ExitCode = cause.Error(), 128
		switch errdefs.KindOf(cause) {
		case errdefs.NoCommand:
			s.ExitCode = 127
		case errdefs.NotExecutable:
			s.ExitCode = 126
		}
		return nil
	})
	if err != nil && !errors.Is(err, errNoRestart) {
		e.opt.Log.Warn("record a failed start", "container", id, "error", err)
	}
}
