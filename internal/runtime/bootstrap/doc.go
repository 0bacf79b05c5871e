// Package bootstrap provides the program that turns a fresh child into a
// container's process: it compiles an OCI runtime specification into the list
// of system calls of package linux/program. It is pure: nothing is mounted,
// opened or changed while compiling, so every step can be read and tested.
//
// The order for a new container, and why:
//
//  1. unblock signals; umask 0, so that modes are exactly what is asked.
//  2. join the cgroup, before anything is made, so that all of it is accounted;
//     then unshare the cgroup namespace, whose root is the cgroup one is in.
//  3. a session of its own; the network namespace, which /sys depends on.
//  4. make the mount namespace private: nothing done below reaches the host.
//  5. mount /proc, detached: it belongs to the new pid namespace. The engine's
//     own writes (sysctl, oom_score_adj) go through this handle, never through
//     a path that a volume could have replaced (CVE-2025-52881).
//  6. /proc, /dev, /sys, then the user's mounts, shortest target first. Targets
//     are opened in the rootfs with RESOLVE_IN_ROOT; a symbolic link at /proc,
//     /dev or /sys is refused.
//  7. masked and read-only paths, as bind mounts over the fresh /proc and /sys.
//  8. the terminal, from the container's own devpts by TIOCGPTPEER.
//  9. pivot_root and the detaching of the old root: from here on host paths do
//     not exist any more.
//  10. limits, seccomp, user, capabilities: each right is dropped when the last
//     step that needs it is over.
//  11. close every descriptor above 2, then enter the working directory and
//     check that it is below "/" (CVE-2024-21626), and execve.
//
// In a user namespace a first child does what takes the host's root, before all
// this; see userns.go.
//
// Its callers are the engine, which compiles, and the monitor, which starts.
package bootstrap
