package engine

import (
	"syscall"

	"berth/internal/errdefs"
)

// The terminal of an exec ends here: its master is this process's alone. When
// its user detaches, the kernel would hang up the program with the master's
// last descriptor (SIGHUP, tty_ioctl(4)); so a process of its own stays behind
// that holds the master and reads what nobody sees any more. A container's own
// terminal needs none: the monitor holds it.

// holdTerminal leaves the master to such a process.
func holdTerminal(master int) error {
	dev, err := null()
	if err != nil {
		return err
	}
	defer dev.Close()
	_, err = syscall.ForkExec("/proc/self/exe", []string{terminalRole}, &syscall.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1"},
		Files: []uintptr{dev.Fd(), dev.Fd(), dev.Fd(), uintptr(master)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	return errdefs.Wrap(err, "leave", "the program running")
}

// terminalMain reads until the program and all that have its terminal have ended (EIO).
func terminalMain() int {
	buf := make([]byte, 4096)
	for {
		n, err := syscall.Read(controlFD, buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return 0
		}
	}
}
