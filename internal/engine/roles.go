package engine

import (
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/runtime/bootstrap"
	"berth/internal/runtime/initproc"
)

// The executable plays other parts than the command line, told by argv[0].
const (
	monitorRole  = "berth-monitor"
	restartRole  = "berth-restart"
	terminalRole = "berth-terminal" // see holdTerminal
	nurseryRole  = "berth-nursery"  // see monitor.ServeNursery
)

// Role runs the part that argv names and reports whether there was one. It is
// asked before anything else in main, so that no part pays for the others.
func Role(argv []string) (exitCode int, isRole bool) {
	if len(argv) == 0 {
		return 0, false
	}
	switch argv[0] {
	case monitorRole:
		return monitorMain(), true
	case restartRole:
		return restartMain(argv[1:]), true
	case terminalRole:
		return terminalMain(), true
	case nurseryRole:
		return nurseryMain(), true
	case bootstrap.InitArg:
		return initproc.Main(argv[1:]), true
	}
	return 0, false
}

// controlFD is where the monitor finds its launcher's socket.
const controlFD = 3

func null() (*os.File, error) { return openPlain(os.DevNull, unix.O_RDWR) }
