package engine

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/ident"
	"berth/internal/runtime/monitor"
)

// A restart policy is carried out by the monitor of the run that ended: it
// waits, and then goes on as the process that starts the container again. The
// lease is never let go in between, so that no other command takes the
// container for one whose monitor died.

// restarts decides by the restart policy.
func restarts(s *container.State, policy string, limit int) bool {
	if s.StoppedByAPI {
		return false
	}
	switch policy {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return s.ExitCode != 0 && (limit == 0 || s.RestartCount < limit)
	}
	return false
}

// errNoRestart means that the container was stopped, removed or started by
// hand while the policy waited.
var errNoRestart = errors.New("no restart wanted any more")

// noRestart takes back that a policy is about to start the container; its
// monitor, which watches the state, ends.
func noRestart(s *container.State) {
	if s.Status == container.Restarting {
		s.Status, s.MonitorPID, s.MonitorStart = container.Exited, 0, 0
	}
}

// isRestarting reports whether the policy is about to start the container again.
func (e *Engine) isRestarting(id string) bool {
	st, err := e.store.LoadState(id)
	return err == nil && st.Status == container.Restarting
}

// restartAfter starts the container again after a pause that doubles from
// 100 ms up to a minute as long as runs are short, or ends the lease if that is
// no longer wanted.
func (e *Engine) restartAfter(p *monitor.Plan, x monitor.Exit) int {
	st, err := e.store.LoadState(p.ID)
	if err != nil || st.Status != container.Restarting {
		e.endLease(p.ID)
		return 0
	}
	pause := 100 * time.Millisecond
	if x.At.Sub(st.StartedAt) < 10*time.Second {
		pause <<= min(st.RestartCount, 10)
	}
	if !e.waitRestarting(p.ID, min(pause, time.Minute)) {
		e.endLease(p.ID)
		return 0
	}
	// The lease's descriptor goes through the execve; it was received close-on-exec.
	if _, err = unix.FcntlInt(uintptr(p.Lease), unix.F_SETFD, 0); err == nil {
		err = syscall.Exec("/proc/self/exe", []string{restartRole, p.DataRoot, p.StateRoot, p.ID, strconv.Itoa(st.RestartCount + 1), strconv.Itoa(p.Lease)}, nil)
	}
	return exitOf(err)
}

// waitRestarting waits and reports whether the restart is still wanted. It is
// woken by any change of the container's files (inotify(7)), so that a stop or
// rm does not have to wait for the pause to end.
func (e *Engine) waitRestarting(id string, pause time.Duration) bool {
	wanted := func() bool {
		st, err := e.store.LoadState(id)
		return err == nil && st.Status == container.Restarting
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err == nil {
		defer unix.Close(fd)
		_, err = unix.InotifyAddWatch(fd, e.store.Dir(id), unix.IN_CLOSE_WRITE|unix.IN_MOVE|unix.IN_DELETE|unix.IN_DELETE_SELF)
	}
	const withoutNotice = 100 * time.Millisecond // the user's inotify instances may be used up
	for end := time.Now().Add(pause); time.Now().Before(end); {
		if !wanted() {
			return false
		}
		left := time.Until(end)
		if err != nil {
			time.Sleep(min(left, withoutNotice))
			continue
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, int(left.Milliseconds())+1); n > 0 {
			var events [4096]byte
			_, _ = unix.Read(fd, events[:]) // what happened does not matter: the state says it
		}
	}
	return wanted()
}

func exitOf(err error) int {
	if err != nil {
		return 1
	}
	return 0
}

// restartMain starts a container again for its policy: args are the two roots,
// the id, the count and the descriptor of the lease.
func restartMain(args []string) int {
	if len(args) != 5 || !ident.Valid(args[2]) {
		return 2
	}
	count, cerr := strconv.Atoi(args[3])
	fd, ferr := strconv.Atoi(args[4])
	if cerr != nil || ferr != nil {
		return 2
	}
	e := open(Options{DataRoot: args[0], StateRoot: args[1]})
	return exitOf(e.Containers.restartByPolicy(context.Background(), args[2], count, e.heir(args[2], uintptr(fd))))
}

// restartByPolicy starts a container whose run has ended, under the lease that
// its monitor held. A failed start ends the policy's work: the error is recorded.
func (c *Containers) restartByPolicy(ctx context.Context, id string, count int, l *lease) error {
	rec, err := c.e.store.Load(id)
	if err == nil && rec.State.Status != container.Restarting {
		err = errNoRestart
	}
	if err != nil {
		return errors.Join(err, l.end())
	}
	_, _, err = c.launch(ctx, rec, l, beginMonitor(rec.ID), StartOptions{}, count)
	return err
}
