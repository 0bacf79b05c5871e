package engine

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// Remove deletes a container: first its record and name, which is instant and
// works on a full disk, then its files.
func (c *Containers) Remove(ctx context.Context, ref string, o RemoveOptions) error {
	c.e.reconcile(ctx)
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return err
	}
	st, l, err := c.endAndAcquire(ctx, id, o.Force)
	if err != nil {
		return err
	}
	rec, err := c.e.store.Load(id)
	if errors.Is(err, errdefs.NotFound) {
		return l.end() // --rm was faster
	}
	if err != nil {
		return errors.Join(err, l.pass())
	}
	if err := c.e.store.Remove(id); err != nil && !errors.Is(err, errdefs.NotFound) {
		return errors.Join(err, l.pass())
	}
	c.e.emit("container", "destroy", id, st)
	var errs []error
	if o.Volumes || rec.HostConfig.AutoRemove {
		errs = append(errs, c.e.removeVolumes(rec.AnonymousVolumes))
	}
	errs = append(errs, c.e.takeDown(id, rec.HostConfig.CgroupParent), c.e.releaseIDs(rec), l.end())
	return errors.Join(errs...)
}

// endAndAcquire takes the lease of a container that does not run, which with
// force is made so. Another command may start it in between: then again.
func (c *Containers) endAndAcquire(ctx context.Context, id string, force bool) (st container.State, l *lease, err error) {
	for {
		if st, err = c.e.store.LoadState(id); err != nil {
			return st, nil, err
		}
		if st.Status.Live() {
			if !force {
				return st, nil, errdefs.New(errdefs.Conflict, "cannot remove container %q: container is %s: stop the container before removing or force remove", st.Name, st.Status).
					WithHint("berth rm -f %s", ident.Short(id))
			}
			if err := c.killNow(ctx, id); err != nil {
				return st, nil, err
			}
		}
		if l, err = c.e.acquireEnded(ctx, id); !errors.Is(err, errAlive) {
			return st, l, err
		}
	}
}

// killNow ends a container without ceremony and waits for its record.
func (c *Containers) killNow(ctx context.Context, id string) error {
	st, err := c.e.store.Update(id, func(s *container.State) error {
		s.StoppedByAPI = true
		noRestart(s)
		return nil
	})
	if err != nil || st.PID == 0 {
		return err
	}
	if fd, err := openPID1(st); err == nil {
		defer unix.Close(fd)
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		if st.Status == container.Paused {
			if err := c.e.thaw(c.e.cgroupParent(id), id); err != nil {
				return err
			}
		}
		gone(ctx, fd, -1)
	}
	return c.finish(ctx, id)
}
