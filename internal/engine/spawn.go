package engine

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/runtime/monitor"
)

// spawning is a monitor that is being started, on another thread, while its
// container is made.
type spawning struct {
	done chan struct{}
	conn *monitor.Connection
	pid  int
	err  error
}

// beginMonitor starts to start a monitor.
func beginMonitor(id string) *spawning {
	s := &spawning{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.conn, s.pid, s.err = spawnMonitor(id)
	}()
	return s
}

// wait returns the connection to the monitor.
func (s *spawning) wait() (*monitor.Connection, error) {
	<-s.done
	return s.conn, s.err
}

// giveUp ends a monitor that gets no container.
func (s *spawning) giveUp() {
	if conn, err := s.wait(); err == nil {
		conn.Close()
	}
}

// spawnMonitor starts a monitor process that waits for its container on the
// returned connection. It starts up while the caller prepares the container;
// if the caller gives up and closes the connection, it ends.
//
// The monitor becomes the parent of processes that are inside the container
// for a moment before they execve, so its executable must not be writable
// through /proc/PID/exe (CVE-2019-5736): it is executed from a detached
// read-only clone of its mount, where that is permitted.
func spawnMonitor(id string) (conn *monitor.Connection, pid int, err error) {
	// One thread of work, one set of the runtime's caches.
	sock, pid, err := spawnRole([]string{monitorRole, id}, []string{"GOMAXPROCS=1"})
	if err != nil {
		return nil, 0, errdefs.Wrap(err, "start", "the container's monitor")
	}
	return monitor.NewConnection(sock), pid, nil
}

// spawnRole starts this executable in another role, which finds the other end
// of the returned socket at controlFD.
func spawnRole(argv, env []string) (sock, pid int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, os.NewSyscallError("socketpair", err)
	}
	defer unix.Close(pair[1])
	dev, err := null()
	if err != nil {
		unix.Close(pair[0])
		return -1, 0, err
	}
	defer dev.Close()
	// Before it executes, the child of ForkExec moves descriptors about: its own
	// to 0 to controlFD, and others to the next few numbers above the highest.
	const moved = 8
	exe, done := readOnlyExecutable(max(int(dev.Fd()), pair[1], controlFD) + moved)
	defer done()
	pid, err = syscall.ForkExec(exe, argv, &syscall.ProcAttr{
		Dir: "/", Env: env,
		Files: []uintptr{dev.Fd(), dev.Fd(), dev.Fd(), uintptr(pair[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		unix.Close(pair[0])
		return -1, 0, err
	}
	return pair[0], pid, nil
}

// readOnlyExecutable returns a path of this executable on a read-only mount, by
// a descriptor of at least that number, and what to call when it has been executed. Without the right to clone
// mounts (rootless) it is the plain path; its own file is not writable then either.
func readOnlyExecutable(least int) (path string, done func()) {
	const self = "/proc/self/exe"
	tree, err := unix.OpenTree(unix.AT_FDCWD, self, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return self, func() {}
	}
	high, err := unix.FcntlInt(uintptr(tree), unix.F_DUPFD_CLOEXEC, least)
	unix.Close(tree)
	if err != nil {
		return self, func() {}
	}
	tree = high
	done = func() { unix.Close(tree) }
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return self, done
	}
	return "/proc/self/fd/" + strconv.Itoa(tree), done
}

// nameProcess gives this process the name that ps and top show; executed by a
// descriptor's path, its name would be the descriptor's number.
func nameProcess(name string) {
	if f, err := openPlain("/proc/self/comm", unix.O_WRONLY); err == nil {
		unix.Write(int(f.Fd()), []byte(name)) // only a convenience
		f.Close()
	}
}
