package engine

import (
	"context"

	"berth/internal/linux/ps"
)

// Top returns the titles and rows of ps for the processes of a container, by
// the host's process ids; psArgs as of ps(1), empty: "-ef". No program is run,
// least of all one of the container's (CVE-2022-1227).
func (c *Containers) Top(_ context.Context, ref string, psArgs []string) (titles []string, rows []Process, err error) {
	st, err := c.e.runningState(ref)
	if err != nil {
		return nil, nil, err
	}
	format, err := ps.Parse(psArgs)
	if err != nil {
		return nil, nil, err
	}
	g, err := c.e.groupOf(st)
	if err != nil {
		return nil, nil, err
	}
	pids, err := g.PIDs()
	if err != nil {
		return nil, nil, err
	}
	list, err := format.Rows(pids)
	if err != nil {
		return nil, nil, err
	}
	rows = make([]Process, len(list))
	for i := range list {
		rows[i] = list[i]
	}
	return format.Titles(), rows, nil
}
