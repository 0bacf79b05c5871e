package engine

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/process"
	"berth/internal/runtime/spec"
)

// defaultStopTimeout is Docker's, in seconds.
const defaultStopTimeout = 10

// Stop asks a container to end, and kills it after the timeout. If its PID 1
// cannot react to the stop signal, it is killed at once, and the result says so;
// one that has chosen to ignore the signal has the whole time.
func (c *Containers) Stop(ctx context.Context, ref string, o StopOptions) (StopResult, error) {
	c.e.reconcile(ctx)
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return StopResult{}, err
	}
	// From here on no restart policy brings it back.
	st, err := c.e.store.Update(id, func(s *container.State) error {
		s.StoppedByAPI = true
		noRestart(s)
		return nil
	})
	if err != nil {
		return StopResult{}, err
	}
	if st.Status != container.Running && st.Status != container.Paused {
		return StopResult{AlreadyStopped: true}, nil
	}
	rec, err := c.e.store.Load(id)
	if err != nil {
		return StopResult{}, err
	}
	sig, timeout, err := stopSettings(rec, o)
	if err != nil {
		return StopResult{}, err
	}
	fd, err := openPID1(st)
	if err != nil {
		return StopResult{}, c.finish(ctx, id)
	}
	defer unix.Close(fd)
	if st.Status == container.Paused {
		if err := c.e.thaw(rec.HostConfig.CgroupParent, id); err != nil {
			return StopResult{}, err
		}
	}
	res := StopResult{Note: terminate(ctx, st, rec, fd, sig, timeout)}
	c.e.emit("container", "stop", id, st)
	return res, c.finish(ctx, id)
}

// stopSettings are the signal and the seconds to wait for it; -1: for ever.
func stopSettings(rec *container.Record, o StopOptions) (unix.Signal, int, error) {
	name, timeout := o.Signal, defaultStopTimeout
	if name == "" {
		name = rec.Config.StopSignal
	}
	if name == "" {
		name = "TERM"
	}
	if rec.Config.StopTimeout != nil {
		timeout = *rec.Config.StopTimeout
	}
	if o.Timeout != nil {
		timeout = *o.Timeout
	}
	n, err := spec.ParseSignal(name)
	return unix.Signal(n), timeout, err
}

// terminate signals PID 1 and waits until it is gone. It returns why the course
// was not the usual one, or "".
func terminate(ctx context.Context, st container.State, rec *container.Record, fd int, sig unix.Signal, timeout int) (note string) {
	ownPIDNS := rec.HostConfig.PidMode == ""
	if ownPIDNS && sig != unix.SIGKILL && timeout != 0 && isDeaf(ctx, st, sig) {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		gone(ctx, fd, -1)
		return "PID 1 of " + st.Name + " has no handler for signal " + signalName(sig) + " and could not have ended by it: killed at once"
	}
	unix.PidfdSendSignal(fd, sig, nil, 0)
	if gone(ctx, fd, timeout) {
		return ""
	}
	unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	gone(ctx, fd, -1)
	return ""
}

func signalName(s unix.Signal) string { return unix.SignalName(s) }

// youth is how long a fresh program is given to install its handler.
const youth = time.Second

// isDeaf reports whether PID 1 has nothing that the signal could reach. A program
// that has only just started may install a handler any moment.
func isDeaf(ctx context.Context, st container.State, sig unix.Signal) bool {
	for {
		deaf, err := process.DefaultAction(st.PID, sig)
		if !deaf || err != nil {
			return false
		}
		if time.Since(st.StartedAt) > youth {
			return true
		}
		select {
		case <-ctx.Done():
			return true
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// gone waits until the process behind the pidfd has ended.
func gone(ctx context.Context, fd, seconds int) bool {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for ctx.Err() == nil {
		wait := 200 * time.Millisecond
		if seconds >= 0 {
			wait = min(wait, time.Until(end))
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, max(int(wait.Milliseconds()), 0))
		if n > 0 && err == nil {
			return true
		}
		if seconds >= 0 && !time.Now().Before(end) {
			return false
		}
	}
	return false
}

// finish waits until the end of a container is recorded: by its monitor, or if
// that is gone, here.
func (c *Containers) finish(ctx context.Context, id string) error {
	for end := time.Now().Add(takeDownLimit); time.Now().Before(end) && ctx.Err() == nil; {
		st, err := c.e.store.LoadState(id)
		if errors.Is(err, errdefs.NotFound) || err == nil && st.MonitorPID == 0 {
			return nil
		}
		if l, err := c.e.acquire(id); err == nil {
			return c.e.recover(ctx, id, l)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errdefs.New(errdefs.Unavailable, "container %s has ended but is still being taken down", ident.Short(id))
}

// Restart stops and starts.
func (c *Containers) Restart(ctx context.Context, ref string, o StopOptions) error {
	if _, err := c.Stop(ctx, ref, o); err != nil {
		return err
	}
	_, err := c.Start(ctx, ref, StartOptions{})
	return err
}
