package cgroup

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// A frozen process is stopped inside the kernel and cannot tell: unlike SIGSTOP
// nothing in the container sees it. Freezing takes a moment, because a process
// in a system call stops at its end.

// freezeLimit bounds the wait where the caller's context does not: a process in
// an uninterruptible call (a dead NFS server) may never stop.
const freezeLimit = 10 * time.Second

// Freeze stops every process of the group and of those below it, and returns
// when all stand still. If they do not in time, they run on.
func (g *Group) Freeze(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	err := g.freeze(ctx)
	if err != nil {
		return errdefs.Wrap(errors.Join(err, g.thaw()), "freeze", "cgroup "+g.Name)
	}
	return nil
}

// freeze is Freeze without the way back.
func (g *Group) freeze(ctx context.Context) error {
	t, order, state, word := g.freezer("1", "FROZEN")
	if t == nil {
		return errdefs.New(errdefs.Unsupported, "the cgroup controller freezer is not available")
	}
	dir := t.dir + g.Name
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		// v1 is told again and again: a process forked at the wrong moment,
		// or woken by a signal, leaves the group in state FREEZING otherwise.
		if err := write(dir+order.file, order.value); err != nil {
			return err
		}
		var buf [256]byte
		b, err := read(dir+state, buf[:0])
		if err != nil || strings.Contains(string(b), word) {
			return err
		}
		select {
		case <-ctx.Done():
			return errdefs.New(errdefs.Unavailable, "not every process stopped: %w", context.Cause(ctx)).
				WithHint("one may hang in the kernel: look for state D in /proc/<pid>/stat")
		case <-time.After(wait):
		}
	}
}

// Thaw lets the processes run again.
func (g *Group) Thaw() error {
	return errdefs.Wrap(g.thaw(), "thaw", "cgroup "+g.Name)
}

func (g *Group) thaw() error {
	t, order, _, _ := g.freezer("0", "THAWED")
	if t == nil {
		return errdefs.New(errdefs.Unsupported, "the cgroup controller freezer is not available")
	}
	return write(t.dir+g.Name+order.file, order.value)
}

// Frozen reports whether Freeze was ordered and not taken back.
func (g *Group) Frozen() (bool, error) {
	t, order, _, _ := g.freezer("1", "FROZEN")
	if t == nil {
		return false, nil
	}
	var buf [64]byte
	b, err := read(t.dir+g.Name+order.file, buf[:0])
	return len(b) > 0 && (b[0] == '1' || b[0] == 'F'), err
}

// freezer returns where and how to give an order and read the state. The v2
// tree of a hybrid host could freeze too, but v1's freezer is the one that ps
// and other tools of such a host look at.
func (g *Group) freezer(v2, v1 string) (t *hierarchy, order struct{ file, value string }, state, word string) {
	if g.host.Version != V2 {
		if t = g.host.tree("freezer"); t != nil {
			order.file, order.value = "/freezer.state", v1
			return t, order, "/freezer.state", "FROZEN"
		}
	}
	order.file, order.value = "/cgroup.freeze", v2
	return g.host.v2(), order, "/cgroup.events", "frozen 1"
}

// Kill sends SIGKILL to every process of the group and of those below it,
// frozen or not, and does not wait for their end. A fork bomb does not escape:
// the kernel kills the v2 group as one (cgroup.kill, Linux 5.14), or the group is
// frozen, so that its list of processes is final, and thawed with the signal pending.
func (g *Group) Kill(ctx context.Context) error {
	if !g.Exists() {
		return nil
	}
	asOne := false
	if t := g.host.v2(); t != nil {
		err := write(t.dir+g.Name+"/cgroup.kill", "1")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errdefs.Wrap(err, "kill", "cgroup "+g.Name)
		}
		if asOne = err == nil; asOne && g.host.Version == V2 {
			return nil
		}
	}
	return errdefs.Wrap(g.killEach(ctx, asOne), "kill", "cgroup "+g.Name)
}

// killEach signals process by process. final says that nobody who is left forks.
func (g *Group) killEach(ctx context.Context, final bool) error {
	ctx, cancel := context.WithTimeout(ctx, freezeLimit)
	defer cancel()
	if !final {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		final = g.freeze(short) == nil
	}
	for {
		pids, err := g.PIDs()
		for _, pid := range pids {
			if e := unix.Kill(pid, unix.SIGKILL); e != nil && e != unix.ESRCH {
				err = errors.Join(err, pathError("kill", "process "+strconv.Itoa(pid), e))
			}
		}
		err = errors.Join(err, ignoreMissing(g.thaw())) // v1: the frozen die when they thaw
		if final || len(pids) == 0 || err != nil {
			return err
		}
		// Not all stood still: whoever was forked meanwhile is in the next list.
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

// ignoreMissing drops the error of a group without freezer, or that is gone.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errdefs.Unsupported) {
		return nil
	}
	return err
}
