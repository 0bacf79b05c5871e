package cgroup

import "strings"

// Bind is one hierarchy as a container sees it below /sys/fs/cgroup: its own
// group under the hierarchy's name.
type Bind struct {
	Name   string   // "memory", "cpu,cpuacct", "unified"
	Source string   // the group's directory on the host
	Links  []string // "cpu" and "cpuacct" lead to "cpu,cpuacct"
}

// Binds returns the group's directories for binding into a container, or nil on
// v2, where the container mounts the tree itself and its cgroup namespace makes
// the group the root of it.
func (g *Group) Binds() []Bind {
	if g.host.Version == V2 {
		return nil
	}
	list := make([]Bind, 0, len(g.host.trees))
	for i := range g.host.trees {
		t := &g.host.trees[i]
		b := Bind{Name: t.name, Source: t.dir + g.Name}
		if b.Name == "" {
			b.Name = "unified"
		}
		if strings.Contains(b.Name, ",") {
			b.Links = strings.Split(b.Name, ",")
		}
		list = append(list, b)
	}
	return list
}
