package engine

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/container/events"
	"berth/internal/errdefs"
	"berth/internal/runtime/monitor"
)

// Wait returns the exit code when the container next stops (at once if it does not run).
func (c *Containers) Wait(ctx context.Context, ref string) (int, error) {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for {
		st, err := c.e.store.LoadState(id)
		if errors.Is(err, errdefs.NotFound) {
			return c.e.exitInJournal(ctx, id, began) // --rm was faster
		}
		if err != nil || !st.Status.Live() {
			return st.ExitCode, err
		}
		code, err := c.waitLive(ctx, st)
		if err == nil {
			return code, nil
		}
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		// The monitor is gone, or about to be: look at what was recorded.
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(waitPause):
		}
	}
}

// waitPause is how often a container without a monitor to ask is looked at.
const waitPause = 20 * time.Millisecond

// waitLive has the monitor tell the exit code, as it tells every client.
// Without one, it returns an error when PID 1 has ended.
func (c *Containers) waitLive(ctx context.Context, st container.State) (int, error) {
	conn, err := monitor.Connect(c.e.socket(st.ID), monitor.Streams{})
	if err == nil {
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { unix.Shutdown(conn.FD(), unix.SHUT_RDWR) }) //nolint:errcheck // it wakes the reader, or that is gone
		defer stop()
		return conn.Copy(nil, io.Discard, io.Discard)
	}
	fd, perr := openPID1(st)
	if perr != nil {
		return 0, perr
	}
	defer unix.Close(fd)
	gone(ctx, fd, -1)
	return 0, err
}

// exitInJournal finds how a container ended that is removed already.
func (e *Engine) exitInJournal(ctx context.Context, id string, since time.Time) (code int, err error) {
	found := false
	err = e.events.Read(ctx, since.Add(-time.Second), time.Now(), func(ev events.Event) error {
		if ev.ID == id && ev.Action == "die" {
			n, err := strconv.Atoi(ev.Attr["exitCode"])
			code, found = n, found || err == nil
		}
		return nil
	})
	if err == nil && !found {
		err = errdefs.New(errdefs.NotFound, "No such container: %s", id)
	}
	return code, err
}
