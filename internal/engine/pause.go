package engine

import (
	"context"
	"errors"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/cgroup"
)

// Pause freezes every process of a container. That it is paused is recorded
// first: if this process dies in between, "unpause" and "stop" know what to do;
// a container that is frozen and called running would not even die of SIGKILL.
func (c *Containers) Pause(ctx context.Context, ref string) error {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return err
	}
	st, err := c.e.store.Update(id, func(s *container.State) error {
		if err := pausable(s, ref); err != nil {
			return err
		}
		s.Status = container.Paused
		return nil
	})
	if err != nil {
		return err
	}
	g, err := c.e.groupOf(st)
	if err == nil {
		err = g.Freeze(ctx)
	}
	if err != nil {
		return errors.Join(err, c.unpaused(st))
	}
	// Did it end meanwhile, and was it perhaps started again? Then this was not asked for.
	if now, err := c.e.store.LoadState(id); err != nil || now.Status != container.Paused || now.PID != st.PID {
		_ = g.Thaw() // the group may be gone
		return errdefs.New(errdefs.Conflict, "container %s ended while it was being paused", ident.Short(id))
	}
	c.e.emit("container", "pause", id, st)
	return nil
}

// pausable says why a container cannot be paused now.
func pausable(s *container.State, ref string) error {
	switch s.Status {
	case container.Running:
		return nil
	case container.Paused:
		return errdefs.New(errdefs.Conflict, "Container %s is already paused", ref).WithHint("berth unpause %s", ref)
	case container.Restarting:
		return errdefs.New(errdefs.Conflict, "Container %s is restarting, wait until the container is running", ref)
	}
	return errdefs.New(errdefs.Conflict, "Container %s is not running", ref).WithHint("berth start %s", ref)
}

// unpaused records that a container runs again, if it is still the same run.
func (c *Containers) unpaused(st container.State) error {
	_, err := c.e.store.Update(st.ID, func(s *container.State) error {
		if s.Status == container.Paused && s.PID == st.PID {
			s.Status = container.Running
		}
		return nil
	})
	return err
}

// Unpause thaws a paused container.
func (c *Containers) Unpause(_ context.Context, ref string) error {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return err
	}
	st, err := c.e.store.LoadState(id)
	if err != nil {
		return err
	}
	if st.Status != container.Paused {
		return errdefs.New(errdefs.Conflict, "Container %s is not paused", ref)
	}
	g, err := c.e.groupOf(st)
	if err == nil {
		err = g.Thaw()
	}
	if err == nil {
		err = c.unpaused(st)
	}
	if err != nil {
		return err
	}
	c.e.emit("container", "unpause", id, st)
	return nil
}

// groupOf returns the cgroup that a running container is in.
func (e *Engine) groupOf(st container.State) (*cgroup.Group, error) {
	host, err := e.cgroups()
	if err != nil {
		return nil, err
	}
	g, err := host.OfProcess(st.PID, st.ID)
	if err != nil {
		return e.group(e.cgroupParent(st.ID), st.ID)
	}
	return g, nil
}
