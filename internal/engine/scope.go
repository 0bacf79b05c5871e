package engine

import (
	"context"
	"errors"
	"strings"

	"berth/internal/linux/cgroup"
	"berth/internal/linux/cgroup/systemd"
	"berth/internal/runtime/spec"
)

// A --cgroup-parent that is the name of a slice ("web.slice") asks for a group
// made by systemd, where systemd is in charge of a v2 tree; any other is a
// path, and the group a directory that we make ourselves.

func namesSlice(parent string) bool {
	return strings.HasSuffix(parent, ".slice") && !strings.Contains(parent, "/")
}

// scoped reports whether a container's group is a scope of systemd's.
func scoped(host *cgroup.Host, parent string) bool {
	return namesSlice(parent) && host.Version == cgroup.V2 && systemd.Available()
}

// groupName is the path of a container's group below the root of each hierarchy.
func groupName(host *cgroup.Host, parent, id string) string {
	if scoped(host, parent) {
		return systemd.GroupName(parent, id)
	}
	return spec.CgroupPath(parent, id)
}

// createGroup makes a container's group. What keeps it alive while nobody is in
// it is released when the container's first process runs, or not at all will.
func createGroup(host *cgroup.Host, parent, id string, l cgroup.Limits) (g *cgroup.Group, release func() error, err error) {
	if !scoped(host, parent) {
		g, err = host.Create(spec.CgroupPath(parent, id), l)
		return g, func() error { return nil }, err
	}
	holder, err := systemd.Hold()
	if err != nil {
		return nil, nil, err
	}
	g, err = systemd.Create(context.Background(), host, systemd.Scope{ID: id, Slice: parent, PID: holder.PID}, l)
	if err != nil {
		return nil, nil, errors.Join(err, holder.Release())
	}
	return g, holder.Release, nil
}

// removeGroup removes a container's group, there or not.
func removeGroup(ctx context.Context, host *cgroup.Host, parent, id string) error {
	g := host.Open(groupName(host, parent, id))
	if scoped(host, parent) {
		return systemd.Remove(ctx, g)
	}
	return g.Remove(ctx)
}
