package engine

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/process"
	"berth/internal/runtime/spec"
)

// Kill sends a signal ("KILL", "SIGTERM", "9") to PID 1.
func (c *Containers) Kill(ctx context.Context, ref, signal string) error {
	if signal == "" {
		signal = "KILL"
	}
	n, err := spec.ParseSignal(signal)
	if err != nil {
		return err
	}
	st, err := c.e.runningState(ref)
	if err != nil {
		return err
	}
	sig := unix.Signal(n)
	if sig == unix.SIGKILL { // by hand: the restart policy must not undo it
		if _, err := c.e.store.Update(st.ID, func(s *container.State) error { s.StoppedByAPI = true; return nil }); err != nil {
			return err
		}
	}
	if err := signalPID1(st, sig); err != nil {
		return errdefs.Wrap(err, "kill", "container "+ident.Short(st.ID))
	}
	if st.Status == container.Paused && sig == unix.SIGKILL {
		err = c.e.thaw(c.e.cgroupParent(st.ID), st.ID) // a frozen process dies when it thaws
	}
	c.e.emit("container", "kill", st.ID, st)
	if err != nil || sig != unix.SIGKILL {
		return err
	}
	return c.finish(ctx, st.ID) // when kill returns it is dead, and start starts it
}

// signalPID1 sends a signal through a pidfd, so that it never reaches a process
// that reused the pid.
func signalPID1(st container.State, sig unix.Signal) error {
	fd, err := openPID1(st)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(fd, sig, nil, 0))
}

// openPID1 opens a pidfd of the container's PID 1, sure to be that process.
func openPID1(st container.State) (int, error) {
	fd, err := unix.PidfdOpen(st.PID, 0)
	if err == nil && !process.Alive(st.PID, st.PIDStart) {
		unix.Close(fd)
		err = unix.ESRCH
	}
	if errors.Is(err, unix.ESRCH) {
		return -1, errdefs.New(errdefs.Conflict, "container %s is not running", ident.Short(st.ID))
	}
	return fd, os.NewSyscallError("pidfd_open", err)
}

// cgroupParent is the cgroup parent of a container, "" for the default.
func (e *Engine) cgroupParent(id string) string {
	rec, err := e.store.Load(id)
	if err != nil {
		return ""
	}
	return rec.HostConfig.CgroupParent
}
