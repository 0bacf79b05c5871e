package monitor

import (
	"errors"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/program"
)

// Exit is how a container ended.
type Exit struct {
	Code int // the program's own, or 128 + the signal's number
	At   time.Time
}

// Log takes the container's output.
type Log interface {
	Write(stream byte, p []byte, now time.Time) error
	Close() error
}

// Hooks are what the engine does at the turns of a container's life. They run
// in the monitor, one at a time.
type Hooks struct {
	// OpenLog opens the log that the plan names.
	OpenLog func(*Plan) (Log, error)
	// Started records that PID 1 runs.
	Started func(p *Plan, pid int) error
	// KillRest kills what PID 1 left behind in a shared pid namespace.
	KillRest func(*Plan)
	// Exited records the end. Clients learn of it when it returns.
	Exited func(*Plan, Exit)
	// Reclaim takes down mounts, cgroups, network, after the clients have been
	// told. Those that read slowly may get their last output after it.
	Reclaim func(*Plan, Exit)
}

// Serve runs the monitor of one container on the control socket and returns
// when the container is over, with its plan (whose Lease is now the descriptor
// itself); the plan is nil if no container was ever started.
func Serve(sock int, h Hooks) (*Plan, Exit) {
	r, err := receive(sock)
	if err != nil {
		if !errors.Is(err, errGone) {
			sendFailure(sock, err)
		}
		return nil, Exit{}
	}
	plan, fds := r.plan, r.fds
	if plan.ExecOnly {
		serveOne(sock, r)
		return nil, Exit{}
	}
	m := &loop{plan: plan, hooks: h, stdin: at(fds, plan.StdinW), out: [2]int{at(fds, plan.StdoutR), at(fds, plan.StderrR)}, master: -1}
	err = m.start(r)
	r.release()
	if err != nil {
		sendFailure(sock, err)
		return nil, Exit{}
	}
	plan.Lease = at(fds, plan.Lease)
	reply(sock, frame(frameStarted, u32(uint32(m.pid))...))
	m.addClient(sock, plan.Attach)
	m.run()
	m.endExecs()
	exit := Exit{Code: m.code, At: time.Now()}
	h.Exited(plan, exit)
	m.announce(frame(frameExited, u32(uint32(exit.Code))...))
	h.Reclaim(plan, exit)
	m.linger()
	return plan, exit
}

func at(fds []int, i int) int {
	if i < 0 || i >= len(fds) {
		return -1
	}
	return fds[i]
}

// sendFailure tells a launcher why its process did not start.
func sendFailure(sock int, err error) {
	var f *program.Failure
	step, errno := -1, unix.Errno(0)
	if errors.As(err, &f) {
		step, errno = f.Index, f.Errno
	}
	reply(sock, frame(frameFailed, append(append(u32(uint32(step)), u32(uint32(errno))...), err.Error()...)...))
}

func reply(sock int, b []byte) { unix.SendmsgN(sock, b, nil, nil, unix.MSG_NOSIGNAL) }

// start clones the container, records it and takes hold of its stdio.
func (m *loop) start(r *request) error {
	p, fds := r.plan, r.fds
	var err error
	if m.log, err = m.hooks.OpenLog(p); err != nil {
		return err
	}
	if err := m.listen(p.Socket); err != nil {
		return err
	}
	s, err := clone(r)
	if err != nil {
		os.Remove(p.Socket)
		return err
	}
	m.pid, m.pidfd = s.PID, s.PIDFD
	if term := at(fds, p.TermSocket); term >= 0 {
		if err := m.takeTerminal(term); err != nil {
			unix.Kill(m.pid, unix.SIGKILL)
			return err
		}
	}
	for i, fd := range fds {
		if i < p.ProgramFDs || i != p.StdinW && i != p.StdoutR && i != p.StderrR && i != p.Lease {
			unix.Close(fd)
		}
	}
	if err := m.hooks.Started(p, m.pid); err != nil { // nobody would know of it
		unix.PidfdSendSignal(m.pidfd, unix.SIGKILL, nil, 0)
		return err
	}
	return nil
}

// clone starts the program. To be born in another pid namespace, the parent
// has to join it for its children; the thread is given back with its own.
func clone(r *request) (program.Started, error) {
	p, prog, fds := r.plan, r.prog, r.fds
	o := program.StartOptions{CloneFlags: p.CloneFlags, FDs: fds, Cgroup: at(fds, p.Cgroup), OwnMemory: p.OwnMemory}
	ns := at(fds, p.PIDNS)
	if ns < 0 {
		return prog.Start(o)
	}
	own, err := unix.Open("/proc/self/ns/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return program.Started{}, errdefs.Wrap(err, "open", "the pid namespace")
	}
	defer unix.Close(own)
	runtime.LockOSThread()
	if err := unix.Setns(ns, unix.CLONE_NEWPID); err != nil {
		runtime.UnlockOSThread()
		return program.Started{}, errdefs.Wrap(err, "join", "the pid namespace")
	}
	s, err := prog.Start(o)
	if unix.Setns(own, unix.CLONE_NEWPID) == nil {
		runtime.UnlockOSThread() // else the thread is not fit for anything else
	}
	return s, err
}

// takeTerminal receives the master that the child sent before its execve.
func (m *loop) takeTerminal(sock int) (err error) {
	if m.master, err = ReceiveTerminal(sock); err != nil {
		return err
	}
	m.stdin, m.out = m.master, [2]int{m.master, -1}
	m.resize(m.plan.Rows, m.plan.Cols)
	return nil
}

// ReceiveTerminal takes the master of a terminal from the socket that a start
// program sent it through.
func ReceiveTerminal(sock int) (master int, err error) {
	var b [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	_, oobn, _, _, err := recvmsg(sock, b[:], oob)
	if err != nil {
		return -1, os.NewSyscallError("recvmsg", err)
	}
	got, err := rights(oob[:oobn])
	if err != nil || len(got) != 1 {
		return -1, errdefs.New(errdefs.Internal, "the container's terminal did not arrive")
	}
	return got[0], nil
}

func (m *loop) resize(rows, cols uint16) {
	if m.master >= 0 && rows != 0 && cols != 0 {
		unix.IoctlSetWinsize(m.master, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
	}
}
