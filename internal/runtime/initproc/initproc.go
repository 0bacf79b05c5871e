// Package initproc provides the init that --init puts in front of the user's
// program: PID 1 of a pid namespace inherits every orphan and must reap it, and
// ignores every signal it has no handler for (pid_namespaces(7)). Most programs
// are not written for that; this one forwards signals to its only child, reaps
// everything, and ends with the child's exit code.
package initproc

import (
	"os"
	"os/exec"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Main runs `-- program args...` and returns the exit code: the program's, 128
// plus the signal that ended it, 127 if it does not exist and 126 if it cannot
// be executed.
func Main(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		os.Stderr.WriteString("berth-init: no program\n")
		return 127
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return cannotRun(args[0], err)
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals)
	p, err := os.StartProcess(path, args, &os.ProcAttr{Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return cannotRun(args[0], err)
	}
	for s := range signals {
		n := s.(unix.Signal)
		switch n {
		case unix.SIGCHLD:
			if code, ended := reap(p.Pid); ended {
				return code
			}
		case unix.SIGURG: // the Go runtime's own
		default:
			unix.Kill(p.Pid, n)
		}
	}
	return 0
}

// reap collects every ended child and tells whether the program was among them.
func reap(program int) (code int, ended bool) {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid == 0 {
			return code, ended
		}
		if pid != program {
			continue
		}
		ended, code = true, ws.ExitStatus()
		if ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
	}
}

func cannotRun(name string, err error) int {
	os.Stderr.WriteString("berth-init: cannot run " + name + ": " + err.Error() + "\n")
	if os.IsPermission(err) {
		return 126
	}
	return 127
}
