package engine

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/capability"
	"berth/internal/linux/seccomp"
	"berth/internal/runtime/bootstrap"
	"berth/internal/runtime/monitor"
)

// rights decides capabilities and the seccomp filter.
func (s *launch) rights() error {
	caps, err := capabilities(s.h)
	if err != nil {
		return err
	}
	s.in.Bounding, s.in.Effective = uint64(caps), uint64(caps)
	s.in.Seccomp, err = filter(s.h, caps)
	return err
}

// capabilities are the container's most: the default set adjusted by the user,
// within what this process itself holds.
func capabilities(h *container.HostConfig) (capability.Set, error) {
	held, err := capability.Held()
	if err != nil {
		return 0, errdefs.Wrap(err, "read", "the capabilities of this process")
	}
	if h.Privileged {
		return held, nil
	}
	return capability.Adjust(capability.Default(), held, h.CapAdd, h.CapDrop)
}

// filter is the seccomp filter: the default one, none, or the profile whose
// text the option holds.
func filter(h *container.HostConfig, caps capability.Set) ([]byte, error) {
	profile := ""
	for _, o := range h.SecurityOpt {
		if v, ok := strings.CutPrefix(o, "seccomp="); ok {
			profile = v
		}
	}
	switch {
	case profile == "unconfined", profile == "" && h.Privileged:
		return nil, nil
	case profile == "" || profile == "builtin":
		return seccomp.Default(caps)
	}
	p, err := seccomp.Parse([]byte(profile))
	if err != nil {
		return nil, errdefs.Wrap(err, "use", "the seccomp profile")
	}
	target, err := seccomp.Host(caps)
	if err != nil {
		return nil, err
	}
	return seccomp.Compile(p, target)
}

// stdio opens the pipes, or the socket that a terminal will come through.
func (s *launch) stdio() error {
	s.plan.StdinW, s.plan.StdoutR, s.plan.StderrR, s.plan.TermSocket = -1, -1, -1, -1
	if s.r.HostConfig.Init != nil && *s.r.HostConfig.Init {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		s.in.HostInit = exe
	}
	if s.r.Config.Tty {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socketpair", err)
		}
		s.in.TerminalSocket = os.NewFile(uintptr(pair[1]), "terminal")
		s.plan.TermSocket = s.monitorFD(os.NewFile(uintptr(pair[0]), "terminal"))
		return nil
	}
	in, err := s.stdin()
	if err != nil {
		return err
	}
	outR, outW, err := pipe()
	if err != nil {
		return err
	}
	errR, errW, err := pipe()
	if err != nil {
		return err
	}
	s.in.Stdio = [3]*os.File{in, outW, errW}
	if err := giveStdio(s.r.IDs, s.in.ConsoleOwner, outW, errW); err != nil {
		return err
	}
	s.plan.StdoutR, s.plan.StderrR = s.monitorFD(outR), s.monitorFD(errR)
	return nil
}

// stdin is a pipe that the monitor feeds, or with no -i the null device.
func (s *launch) stdin() (*os.File, error) {
	if !s.r.Config.OpenStdin {
		return null()
	}
	r, w, err := pipe()
	if err != nil {
		return nil, err
	}
	s.plan.StdinW = s.monitorFD(w)
	return r, giveStdio(s.r.IDs, s.in.ConsoleOwner, r)
}

// pipe is os.Pipe without registering the ends for polling: they are passed on, not used.
func pipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	return os.NewFile(uintptr(p[0]), "pipe"), os.NewFile(uintptr(p[1]), "pipe"), nil
}

// fillPlan completes what the monitor is told. The monitor's own descriptors
// come after the program's in the list that is sent.
func (s *launch) fillPlan(attach *AttachOptions, l *lease, programFDs int) {
	p := &s.plan
	p.ID, p.DataRoot, p.StateRoot = s.r.ID, s.e.opt.DataRoot, s.e.opt.StateRoot
	p.Socket = s.e.socket(s.r.ID)
	p.CloneFlags = bootstrap.CloneFlags(s.in.Spec)
	p.ProgramFDs = programFDs
	lease := s.monitorFD(l.file())
	cgroup := -1
	if s.cgroupDir != nil {
		cgroup = s.monitorFD(s.cgroupDir)
	}
	for place, at := range map[*int]int{&p.Cgroup: cgroup, &p.PIDNS: p.PIDNS - 1, &p.Lease: lease, &p.StdinW: p.StdinW, &p.StdoutR: p.StdoutR, &p.StderrR: p.StderrR, &p.TermSocket: p.TermSocket} {
		if *place = at; at >= 0 {
			*place = at + programFDs
		}
	}
	if attach != nil {
		p.Attach = monitor.Streams{Stdin: attach.Stdin, Stdout: attach.Stdout, Stderr: attach.Stderr}.Flags()
		p.Rows, p.Cols = attach.Rows, attach.Cols
	}
	p.StdinOnce = s.r.Config.StdinOnce
	p.LogDriver, p.LogPath = s.h.LogConfig.Type, s.e.logPath(s.r.ID)
	p.LogOptions = s.h.LogConfig.Config
	p.AutoRemove = s.h.AutoRemove
	p.SharesPIDNS = s.h.PidMode != ""
	p.RestartName, p.RestartMax = s.h.RestartPolicy.Name, s.h.RestartPolicy.MaximumRetryCount
	p.CgroupParent = s.h.CgroupParent
	if s.net != nil {
		p.Network = container.Network{Bridge: "", SandboxID: s.r.ID, Ports: s.net.Ports, Networks: map[string]container.Endpoint{"bridge": s.net.Endpoint}}
		p.Published = publishedPorts(s.r, s.net.Ports)
	}
}

func (e *Engine) socket(id string) string { return filepath.Join(e.store.StateDir(id), "attach.sock") }

func (e *Engine) logPath(id string) string { return filepath.Join(e.store.Dir(id), id+"-json.log") }
