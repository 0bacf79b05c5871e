// Package cgroup provides control groups: it finds the host's cgroup file
// systems, makes a container's group in them, sets its limits, reads what it
// uses, freezes, kills and removes it.
//
// A control group is a directory in a file system that the kernel keeps in
// memory. Making the directory makes the group; writing a process id into one
// of its files moves the process in; every later child of that process is born
// in the same group. Files such as memory.max hold limits, files such as
// cpu.stat tell what the processes of the group have used together. A kind of
// resource (cpu, memory, pids, block i/o, devices) is called a controller.
// Groups limit how much a container uses; what it can see is the business of
// namespaces.
//
// The kernel has two generations of this, and a host may run both at once:
//
//   - v1: every controller may have a tree (a hierarchy) of its own, mounted
//     at /sys/fs/cgroup/<controller>; some share one ("cpu,cpuacct"). A
//     hierarchy without any controller, "name=systemd", lets systemd tell
//     which process belongs to which service. A container is one directory in
//     each of them, and its process has to join each.
//   - hybrid: v1 as above, and the v2 tree without the main controllers at
//     /sys/fs/cgroup/unified. It is one more directory to be in.
//   - v2: one tree at /sys/fs/cgroup for all controllers. A parent chooses in
//     cgroup.subtree_control which of them its children get, and a group with
//     such children may hold no process itself (cgroups(7)).
//
// A container's group is <parent>/<id> in every hierarchy, so that every line
// of /proc/<pid>/cgroup ends in the container's id. On v2 systemd can be asked
// to make the group instead, as the scope docker-<id>.scope; see the package
// systemd below this one.
//
// # Joining
//
// On v1 a child joins by writing "0" into the file tasks of each hierarchy.
// Writing cgroup.procs means the same for a process of one thread, but takes a
// lock over all forks of the machine that waits for an RCU grace period: 6 to
// 12 ms. The v2 tree has no tasks file; there the child is best born in the
// group by clone3(2) with CLONE_INTO_CGROUP (Linux 5.7), which takes no such lock.
//
// # The cgroup namespace
//
// A process made with CLONE_NEWCGROUP sees the group that it is in at that
// moment as the root of every hierarchy: /proc/self/cgroup says "/" inside, the
// host still sees the whole path. The namespace must therefore be unshared
// after the group has been joined, and a cgroup file system must be mounted in
// the container after that, or its root would be the host's. See
// cgroup_namespaces(7).
//
// # Invariants
//
// A Limits value is checked whole before a directory is made. Create leaves
// nothing behind when it fails. Remove may be repeated. A Host and a Group hold
// no descriptor and may be used from several goroutines.
package cgroup
