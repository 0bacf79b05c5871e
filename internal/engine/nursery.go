package engine

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/runtime/monitor"
)

// nursery is the process that is the parent of this engine's build steps. It is
// started with the first of them and ends with the engine's process; one that
// was killed is replaced.
type nursery struct {
	mu   sync.Mutex // guards what follows
	pid  int        // 0: none is running
	sock int        // the control socket
}

// connect returns a connection for one step.
func (n *nursery) connect() (*monitor.Connection, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for fresh := false; ; {
		if n.pid == 0 {
			var err error
			if n.sock, n.pid, err = spawnRole([]string{nurseryRole}, nurseryEnv()); err != nil {
				return nil, errdefs.Wrap(err, "start", "the parent process of build steps")
			}
			fresh = true
		}
		conn, err := monitor.ConnectStep(n.sock)
		if fresh || !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
			return conn, err
		}
		n.end()
	}
}

// end lets the nursery end, which it does when its last step has.
//
// Preconditions: mu is held, or nobody else uses n.
func (n *nursery) end() {
	if n.pid == 0 {
		return
	}
	unix.Close(n.sock)
	for {
		if _, err := unix.Wait4(n.pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	n.pid = 0
}

// nurseryEnv keeps the runtime from looking every second whether this process's
// CPU limit has changed: a nursery sleeps.
func nurseryEnv() []string { return []string{"GODEBUG=containermaxprocs=0,updatemaxprocs=0"} }

// nurseryMain is the process itself. It collects its dead only through Wait4:
// nothing else in it has children.
func nurseryMain() int {
	nameProcess(nurseryRole)
	unix.CloseOnExec(controlFD)
	monitor.ServeNursery(controlFD)
	return 0
}
