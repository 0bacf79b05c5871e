package engine

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/capability"
	"berth/internal/linux/program"
	"berth/internal/runtime/bootstrap"
	"berth/internal/runtime/monitor"
	"berth/internal/runtime/spec"
)

// Exec starts one more program in a running container. The container's monitor
// is its parent; its streams go straight between the program and the caller.
func (c *Containers) Exec(ctx context.Context, ref string, r ExecRequest) (*ExecSession, error) {
	st, err := c.e.runningState(ref)
	if err != nil {
		return nil, err
	}
	if st.Status == container.Paused {
		return nil, errdefs.New(errdefs.Conflict, "container %s is paused, unpause the container before exec", ident.Short(st.ID)).
			WithHint("berth unpause %s", ident.Short(st.ID))
	}
	if len(r.Cmd) == 0 {
		return nil, errdefs.New(errdefs.InvalidArgument, "no exec command specified")
	}
	rec, err := c.e.store.Load(st.ID)
	if err != nil {
		return nil, err
	}
	x := &execution{e: c.e, rec: rec, st: st, req: r}
	defer x.closeChildFiles()
	session, err := x.start(ctx)
	if err != nil {
		x.closeOwnFiles()
		return nil, err
	}
	c.e.emit("container", "exec_start: "+strings.Join(r.Cmd, " "), st.ID, st)
	return session, nil
}

// execution is an exec in the making.
type execution struct {
	e    *Engine
	rec  *container.Record
	st   container.State
	req  ExecRequest
	in   bootstrap.JoinInput
	plan monitor.Plan
	fds  []*os.File // the monitor's
	own  [3]*os.File
	term int // our end of the terminal socket, -1: none
}

func (x *execution) start(ctx context.Context) (*ExecSession, error) {
	x.term = -1
	if err := x.compileInput(); err != nil {
		return nil, err
	}
	if err := x.stdio(); err != nil {
		return nil, err
	}
	out, err := bootstrap.CompileJoin(x.in)
	if err != nil {
		return nil, err
	}
	conn, err := x.connect(ctx)
	if err != nil {
		return nil, err
	}
	pid, err := x.send(conn, out)
	if err != nil {
		conn.Close()
		return nil, err
	}
	s := &ExecSession{PID: pid, conn: conn, req: x.req, master: -1}
	if x.req.Tty {
		if s.master, err = monitor.ReceiveTerminal(x.term); err != nil {
			conn.Close()
			return nil, err
		}
		s.Resize(x.req.Rows, x.req.Cols)
	}
	s.relay(x.own)
	return s, nil
}

// connect reaches the monitor, or a new one where that was killed: any process
// that runs from the read-only executable can be the parent.
func (x *execution) connect(_ context.Context) (*monitor.Connection, error) {
	conn, err := monitor.ConnectExec(x.e.socket(x.rec.ID))
	if err == nil {
		return conn, nil
	}
	x.plan.ExecOnly = true
	conn, _, err = spawnMonitor(x.rec.ID)
	return conn, err
}

func (x *execution) send(conn *monitor.Connection, out *bootstrap.Compiled) (pid int, err error) {
	x.plan.ID, x.plan.ProgramFDs = x.rec.ID, len(out.FDs)
	fds := make([]int, 0, len(out.FDs)+1)
	for _, f := range append(out.FDs, x.fds...) {
		fds = append(fds, int(f.Fd()))
	}
	for _, place := range []*int{&x.plan.PIDNS, &x.plan.Cgroup} {
		if *place >= 0 { // the monitor's descriptors come after the program's
			*place += len(out.FDs)
		}
	}
	if err := monitor.Send(conn.FD(), &x.plan, out.Program, fds); err != nil {
		return 0, err
	}
	pid, err = conn.AwaitStart()
	var f *program.Failure
	if errors.As(err, &f) {
		return 0, stepError(f, out.Program.What(f.Index), x.req.Cmd[0], x.in.Process.Cwd)
	}
	return pid, err
}

// compileInput decides user, rights and namespaces as the container has them.
func (x *execution) compileInput() error {
	h := &x.rec.HostConfig
	rootfs, err := rootfsOf(x.st)
	if err != nil {
		return err
	}
	defer rootfs.Close()
	userName := x.rec.Config.User
	if x.req.User != "" {
		userName = x.req.User
	}
	user, err := lookUpUser(rootfs, userName, h.GroupAdd)
	if err != nil {
		return err
	}
	if err := checkUser(x.rec.IDs, user); err != nil {
		return err
	}
	caps, err := capabilities(h)
	if err != nil {
		return err
	}
	if x.req.Privileged {
		if caps, err = capability.Held(); err != nil {
			return err
		}
	}
	if x.in.Seccomp, err = filter(h, caps); err != nil {
		return err
	}
	x.in.Bounding, x.in.Effective, x.in.ConsoleOwner = uint64(caps), uint64(caps), user.UID
	cwd := x.rec.Config.WorkingDir
	if x.req.WorkingDir != "" {
		cwd = x.req.WorkingDir
	}
	if cwd == "" {
		cwd = "/"
	}
	if !strings.HasPrefix(cwd, "/") {
		return errdefs.New(errdefs.InvalidArgument, "the working directory %q is invalid, it needs to be an absolute path", cwd)
	}
	x.in.Process = &specs.Process{
		Args: x.req.Cmd, Cwd: cwd, Terminal: x.req.Tty, User: user.OCI(), NoNewPrivileges: spec.NoNewPrivileges(h.SecurityOpt),
		Env: spec.Env(mergeEnv(x.rec.Config.Env, x.req.Env), x.rec.Config.Hostname, x.req.Tty, user.Home),
	}
	if err := x.namespaces(); err != nil {
		return err
	}
	return x.cgroup()
}

// namespaces opens what is to be joined: all that PID 1 has and this process has not.
func (x *execution) namespaces() error {
	fd, err := openPID1(x.st)
	if err != nil {
		return err
	}
	x.in.PIDFD = os.NewFile(uintptr(fd), "pidfd")
	x.plan.PIDNS, x.plan.Cgroup, x.plan.TermSocket, x.plan.Lease = -1, -1, -1, -1
	x.plan.StdinW, x.plan.StdoutR, x.plan.StderrR = -1, -1, -1
	for _, ns := range [...]struct {
		name string
		flag uint64
	}{{"mnt", unix.CLONE_NEWNS}, {"net", unix.CLONE_NEWNET}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"pid", unix.CLONE_NEWPID}, {"cgroup", unix.CLONE_NEWCGROUP}, {"user", unix.CLONE_NEWUSER}, {"time", unix.CLONE_NEWTIME}} {
		theirs, err := os.Readlink("/proc/" + itoa(x.st.PID) + "/ns/" + ns.name)
		if err != nil {
			continue // the kernel has no such namespace, or PID 1 has just ended
		}
		if ours, err := os.Readlink("/proc/self/ns/" + ns.name); err != nil || ours == theirs {
			continue
		}
		x.in.Namespaces |= ns.flag
	}
	// A process that shares memory cannot join a time namespace.
	x.plan.OwnMemory = x.in.Namespaces&unix.CLONE_NEWTIME != 0
	if x.in.Namespaces&unix.CLONE_NEWPID != 0 {
		f, err := os.Open("/proc/" + itoa(x.st.PID) + "/ns/pid")
		if err != nil {
			return errdefs.Wrap(err, "join", "the pid namespace")
		}
		x.plan.PIDNS = len(x.fds)
		x.fds = append(x.fds, f)
	}
	return nil
}

// cgroup opens the groups that PID 1 is in: an init inside may have moved it.
func (x *execution) cgroup() error {
	host, err := x.e.cgroups()
	if err != nil {
		return err
	}
	g, err := host.OfProcess(x.st.PID, x.rec.ID)
	if err != nil {
		return err
	}
	dir, err := g.OpenV2()
	if err != nil {
		return err
	}
	if dir != nil {
		x.plan.Cgroup = len(x.fds)
		x.fds = append(x.fds, dir)
	}
	for _, path := range g.JoinFiles(dir != nil) {
		f, err := openPlain(path, unix.O_WRONLY)
		if errors.Is(err, os.ErrNotExist) {
			continue // the hierarchy was mounted after the container's start
		}
		if err != nil {
			return err
		}
		x.in.CgroupJoin = append(x.in.CgroupJoin, f)
	}
	return nil
}

// stdio gives the program the caller's own descriptors where they are plain
// files or pipes, so that no byte is copied, and pipes where they are not.
// A terminal is never handed in: it is the host's (TIOCSTI).
func (x *execution) stdio() error {
	if x.req.Tty {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socketpair", err)
		}
		x.term = pair[0]
		x.in.TerminalSocket = os.NewFile(uintptr(pair[1]), "terminal")
		return nil
	}
	for i, stream := range []any{x.req.Stdin, x.req.Stdout, x.req.Stderr} {
		f, err := x.stream(i, stream)
		if err != nil {
			return err
		}
		x.in.Stdio[i] = f
	}
	return nil
}

func (x *execution) stream(i int, stream any) (*os.File, error) {
	if isNil(stream) {
		return null()
	}
	// A file of ours is the host's root's: another user could not open its own
	// /dev/stdout, and the file's owner is not to be changed.
	if f, ok := stream.(*os.File); ok && x.rec.IDs == nil && x.in.ConsoleOwner == 0 && passable(f) {
		return f, nil
	}
	r, w, err := pipe()
	if err != nil {
		return nil, err
	}
	if i == 0 {
		x.own[0] = w
		return r, giveStdio(x.rec.IDs, x.in.ConsoleOwner, r)
	}
	x.own[i] = r
	return w, giveStdio(x.rec.IDs, x.in.ConsoleOwner, w)
}

// isNil reports whether a stream was left out.
func isNil(stream any) bool {
	if f, ok := stream.(*os.File); ok {
		return f == nil
	}
	return stream == nil
}

// passable reports whether a file may be given to a container: pipes, sockets,
// regular files and the null device; no directory (CVE-2024-21626) and no
// terminal.
func passable(f *os.File) bool {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return false
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFREG, unix.S_IFSOCK:
		return true
	case unix.S_IFCHR:
		return unix.Major(st.Rdev) == 1 && unix.Minor(st.Rdev) == 3
	}
	return false
}

// closeChildFiles closes what was opened for the program and the monitor only.
func (x *execution) closeChildFiles() {
	for _, f := range append(x.fds, x.in.CgroupJoin...) {
		f.Close()
	}
	for i, f := range x.in.Stdio {
		given := []any{x.req.Stdin, x.req.Stdout, x.req.Stderr}[i]
		if file, ok := given.(*os.File); f != nil && !(ok && file == f) {
			f.Close()
		}
	}
	for _, f := range []*os.File{x.in.PIDFD, x.in.TerminalSocket} {
		if f != nil {
			f.Close()
		}
	}
	if x.term >= 0 {
		unix.Close(x.term)
	}
}

func (x *execution) closeOwnFiles() {
	for _, f := range x.own {
		if f != nil {
			f.Close()
		}
	}
}
