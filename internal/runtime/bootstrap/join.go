package bootstrap

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// JoinInput is everything the program of an additional process (exec) is compiled from.
type JoinInput struct {
	Process *specs.Process
	// PIDFD is a pidfd of the container's PID 1: its namespaces are joined by
	// one setns(2) (Linux 5.8). The pid namespace is joined by the parent, as
	// setns changes it for children only.
	PIDFD *os.File
	// Namespaces are the CLONE_NEW* to join; those shared with the host are left out.
	Namespaces uint64
	CgroupJoin []*os.File
	Stdio      [3]*os.File
	// TerminalSocket receives the master of a new terminal when Process.Terminal.
	TerminalSocket      *os.File
	ConsoleOwner        uint32
	Bounding, Effective uint64
	Seccomp             []byte
}

// CompileJoin returns the program of a process that joins a running container.
// The order is that of a new container without the making of things: cgroup,
// namespaces (after which "/" is the container's root), terminal, rights.
func CompileJoin(in JoinInput) (*Compiled, error) {
	c := newCompiler(Input{
		Spec: &specs.Spec{Process: in.Process}, CgroupJoin: in.CgroupJoin, Stdio: in.Stdio, TerminalSocket: in.TerminalSocket,
		ConsoleOwner: in.ConsoleOwner, Bounding: in.Bounding, Effective: in.Effective, Seccomp: in.Seccomp,
	})
	c.joins = true
	c.begin()
	c.joinCgroup()
	c.b.Call("start a session", unix.SYS_SETSID)
	c.hideFromPtrace()
	if flags := in.Namespaces &^ unix.CLONE_NEWPID; flags != 0 {
		c.b.Call("join the container's namespaces", unix.SYS_SETNS, c.fd(in.PIDFD), program.Int(flags))
	}
	if in.Namespaces&unix.CLONE_NEWUSER != 0 {
		c.becomeMappedRoot()
	}
	c.root = c.b.Call("open the root", unix.SYS_OPENAT, program.Int(int64(unix.AT_FDCWD)), program.Str("/"), program.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)).Save()
	c.joinTerminal()
	if err := c.becomeProcess(in.Process); err != nil {
		return nil, err
	}
	return &Compiled{Program: c.b.Program(), FDs: c.fds}, nil
}

// joinTerminal makes a terminal in the container's devpts, without /dev/console, which is PID 1's.
func (c *compiler) joinTerminal() {
	if !c.in.Spec.Process.Terminal {
		c.terminal()
		return
	}
	master := c.openTerminal()
	slave := c.unlockTerminal(master)
	c.sendTerminal(master)
	c.takeTerminal(slave)
}
