// Package crash holds berth to its promise that nothing has to be running: any
// of its processes may be killed at any moment, the disk may be full, and the
// next ordinary command still works and cleans up.
//
// What makes that so is the lease (internal/engine/lease.go): whoever works on a
// container holds a locked file, STATE/active/<id>, and removes it when nothing
// is left to do. A file there that nobody has locked is work that was cut short.
// These commands look for such files before they do their own work, and finish
// what they find (engine.reconcile):
//
//	run, create     ports, addresses and names of the dead must not be in the way
//	start, restart  the container itself may be half started
//	stop, rm, prune what ends a container leaves nothing of it
//	ps, info        who looks sees what is, not what was
//
// The others (exec, logs, inspect, ...) act on containers that are alive, and
// read states that are checked against the kernel anyway: they do not look.
//
// A step of a build has a lease like a container. What else a killed build leaves,
// layers and directories half made, the next build deletes; the steps that it
// finished are found done.
//
// The tests run the real binary in mount and network namespaces of their own
// and need root.
package crash
