package engine

import "context"

// Rename gives a container another name.
func (c *Containers) Rename(_ context.Context, ref, name string) error {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return err
	}
	if err := c.e.store.Rename(id, name); err != nil {
		return err
	}
	st, err := c.e.store.LoadState(id)
	if err == nil {
		c.e.emit("container", "rename", id, st)
	}
	return err
}
