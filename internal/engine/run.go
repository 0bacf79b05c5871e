package engine

import (
	"context"
	"errors"
)

// Run is Create followed by Start, with the monitor starting up while the
// container is made. A container with AutoRemove that cannot start is removed.
func (c *Containers) Run(ctx context.Context, r CreateRequest, o StartOptions) (CreateResult, *Attachment, error) {
	var mon *spawning
	rec, l, err := c.e.create(ctx, r, func(id string) { mon = beginMonitor(id) })
	if err != nil {
		if mon != nil {
			mon.giveUp()
		}
		return CreateResult{}, nil, err
	}
	tour := o.Attach != nil && isTour(rec)
	if tour {
		rec.Config.OpenStdin, rec.Config.StdinOnce, o.Attach.Stdin = true, true, true
	}
	a, warnings, err := c.launch(ctx, rec, l, mon, o, 0)
	if err != nil && rec.HostConfig.AutoRemove {
		err = errors.Join(err, c.Remove(ctx, rec.ID, RemoveOptions{Force: true, Volumes: true}))
	}
	if tour && err == nil {
		a.input = c.e.tourFacts(rec)
	}
	return CreateResult{ID: rec.ID, Warnings: warnings}, a, err
}
