package engine

import (
	"context"

	"berth/internal/container/logs"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// Logs calls yield for every selected line, oldest first, until there are no
// more or, with Follow, until the container ends. With a restart policy it goes
// on through the restarts. A line's data is valid during the call of yield.
func (c *Containers) Logs(ctx context.Context, ref string, o LogOptions, yield func(LogLine) error) error {
	id, err := c.e.store.Resolve(ref)
	if err != nil {
		return err
	}
	rec, err := c.e.store.Load(id)
	if err != nil {
		return err
	}
	if rec.HostConfig.LogConfig.Type == logs.None {
		return errdefs.New(errdefs.Unsupported, "configured logging driver does not support reading").
			WithHint("container %s was made with --log-driver none", ident.Short(id))
	}
	s := logs.Selection{
		Tail: o.Tail, Since: o.Since, Until: o.Until, Stdout: o.Stdout, Stderr: o.Stderr, Follow: o.Follow,
		// The monitor closes the log before it records the end.
		Ended: func() bool {
			st, err := c.e.store.LoadState(id)
			return err != nil || !st.Status.Live()
		},
	}
	return logs.Read(ctx, c.e.logPath(id), s, func(l logs.Line) error {
		return yield(LogLine{Time: l.Time, Stderr: l.Stderr, Data: l.Data})
	})
}
