// Package systemd provides groups made by systemd: a container becomes a scope,
// a unit whose processes somebody else has started.
//
// Where systemd is the init, the cgroup tree belongs to it: slices ("system.slice")
// are inner groups, services and scopes the leaves. cgroups(7) wants a tree to
// have one writer, so an engine may either keep to a subtree of its own, which
// the package cgroup above does, or ask systemd for each group. Asked, systemd
// shows the container in systemctl and systemd-cgls, counts it to a slice with
// that slice's limits, and leaves the inside of the group alone (Delegate=yes).
//
// systemd is asked over D-Bus, in its simplest form: a stream of length-prefixed
// messages over a Unix socket. Only one method call and one signal are needed:
//
//	us                                               systemd
//	\0AUTH EXTERNAL <uid in hex>\r\nBEGIN\r\n   ->
//	                                            <-   OK <guid>\r\n
//	StartTransientUnit(name, mode, properties)  ->
//	                                            <-   reply: the job's object path
//	                                            <-   signal JobRemoved(id, job, unit, "done")
//
// which is why they are spoken here directly: the D-Bus library links net and
// os/user into every start of the program.
//
// A scope needs a process when it is made, and the container's first is not
// born yet. So a Holder goes in first; the child is then cloned into the group,
// and the holder released. When the last process ends, systemd removes group
// and unit.
package systemd
