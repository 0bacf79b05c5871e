package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/cleanup"
	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/cgroup"
	"berth/internal/linux/program"
	"berth/internal/linux/userns"
	"berth/internal/network"
	"berth/internal/oci"
	"berth/internal/runtime/bootstrap"
	"berth/internal/runtime/monitor"
	"berth/internal/runtime/spec"
	"berth/internal/storage/snapshot"
)

// launch is one start of a container in the making: everything that exists
// before the monitor has it, and how to undo it.
type launch struct {
	e   *Engine
	r   *container.Record
	h   *container.HostConfig
	cu  *cleanup.Stack
	in  bootstrap.Input
	fds []*os.File // the monitor's own descriptors, after the program's

	rootfsDir string
	rootfs    *os.File
	filesDir  string // holds its /etc/hosts and the like
	anywhere  bool   // /etc/hosts is the same wherever and whenever it starts
	group     *cgroup.Group
	release   func() error // ends what kept the group alive before the container was in it
	cgroupDir *os.File
	net       *network.Attachment
	userns    *userns.Namespace // nil: the host's
	plan      monitor.Plan
	warnings  []string
}

// start takes a created container to running and returns the connection to its
// monitor, to which the lease passes. On failure everything made here is undone
// and the container is as before; the monitor is the caller's to give up.
func (e *Engine) start(ctx context.Context, r *container.Record, m *spawning, l *lease, attach *AttachOptions, restarts int) (mon *monitor.Connection, warnings []string, err error) {
	s := &launch{e: e, r: r, h: &r.HostConfig, cu: cleanup.New(), filesDir: e.store.StateDir(r.ID)}
	s.plan.Restarts = restarts
	defer func() {
		if err != nil {
			err = errors.Join(err, s.cu.Run())
		}
	}()
	if err := s.prepare(ctx); err != nil {
		return nil, nil, err
	}
	out, err := bootstrap.Compile(s.in)
	if err != nil {
		return nil, nil, err
	}
	s.fillPlan(attach, l, len(out.FDs))
	if mon, err = m.wait(); err != nil {
		return nil, nil, err
	}
	l.note(m.pid) // from here on whatever becomes of us: it gets the lease, or ends
	if err := monitor.Send(mon.FD(), &s.plan, out.Program, s.descriptors(out)); err != nil {
		return nil, nil, err
	}
	_, err = mon.AwaitStart()
	s.closeFiles(l)
	if err != nil {
		return nil, nil, startError(err, out.Program, r)
	}
	s.cu.Release()
	return mon, s.warnings, l.pass()
}

// prepare makes what a container needs around it and compiles the facts about
// that into the program's input.
func (s *launch) prepare(ctx context.Context) error {
	if err := s.e.store.MakeStateDir(s.r.ID); err != nil {
		return err
	}
	if s.r.IDs != nil { // before the rest, which is made for it
		if err := s.makeUserNamespace(); err != nil {
			return err
		}
	}
	if err := s.surround(ctx, s.mountRootfs); err != nil {
		return err
	}
	if err := s.specify(ctx, nil); err != nil {
		return err
	}
	return s.stdio()
}

// surround makes the rootfs, the cgroup and the network. The network is kernel
// work of its own and is made at the same time as the rest.
func (s *launch) surround(ctx context.Context, rootfs func(context.Context) error) error {
	netDone := make(chan error, 1)
	go func() { netDone <- s.attachNetwork(ctx) }()
	err := errors.Join(rootfs(ctx), s.makeCgroup())
	err = errors.Join(err, <-netDone)
	if s.net != nil {
		s.warnings = append(s.warnings, s.net.Warnings...)
		s.cu.Add(func() error { return s.e.networks.Detach(context.WithoutCancel(ctx), s.r.ID) })
	}
	return err
}

// specify compiles record and facts into the program's input; more are mounts
// that the record does not know of.
func (s *launch) specify(ctx context.Context, more []specs.Mount) error {
	facts, err := s.facts(ctx)
	if err != nil {
		return err
	}
	facts.Binds = append(facts.Binds, more...)
	if s.in.Spec, err = spec.Build(s.r, facts); err != nil {
		return err
	}
	s.in.IsDir = isDir
	s.in.ConsoleOwner = facts.User.UID
	return s.rights()
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

func (s *launch) mountRootfs(ctx context.Context) error {
	if dir := s.h.Rootfs; dir != "" {
		s.rootfsDir, s.in.Rootfs = dir, dir
		if s.userns != nil {
			if err := s.mapRootfs(); err != nil {
				return err
			}
		}
	} else {
		// A throwaway container's upper layer need not reach the disk at unmount.
		o := snapshot.MountOptions{Volatile: s.h.AutoRemove, IDs: s.userns}
		err := s.e.snapshots.Mount(ctx, s.r.ID, o)
		if errors.Is(err, snapshot.ErrDamaged) { // a power cut emptied its list of layers: the image has it too
			if img, ierr := s.e.images.Get(oci.Digest(s.r.ImageID)); ierr == nil {
				o.Parent = img.TopLayer
				err = s.e.snapshots.Mount(ctx, s.r.ID, o)
			}
		}
		if err != nil {
			return err
		}
		s.cu.Add(func() error { return s.e.snapshots.Unmount(s.r.ID) })
		s.rootfsDir, s.in.Rootfs, s.in.RootfsMounted = s.e.snapshots.Merged(s.r.ID), s.e.snapshots.Merged(s.r.ID), true
	}
	var err error
	s.rootfs, err = openRootfs(s.rootfsDir)
	return err
}

func (s *launch) makeCgroup() error {
	_, rules, err := devices(s.h)
	if err != nil {
		return err
	}
	l, err := limits(&s.h.Resources, rules)
	if err != nil {
		return err
	}
	host, err := s.e.cgroups()
	if err != nil {
		return err
	}
	if s.group, s.release, err = createGroup(host, s.h.CgroupParent, s.r.ID, l); err != nil {
		return err
	}
	s.cu.Add(func() error { return removeGroup(context.Background(), host, s.h.CgroupParent, s.r.ID) })
	s.cu.Add(s.release)
	s.warnings = append(s.warnings, s.group.Warnings...)
	if s.userns == nil { // whose process has no right to be born there, but can write what was opened for it
		if s.cgroupDir, err = s.group.OpenV2(); err != nil {
			return err
		}
	}
	for _, path := range s.group.JoinFiles(s.cgroupDir != nil) {
		f, err := openPlain(path, unix.O_WRONLY)
		if err != nil {
			return err
		}
		s.in.CgroupJoin = append(s.in.CgroupJoin, f)
	}
	for _, b := range s.group.Binds() {
		s.in.CgroupBinds = append(s.in.CgroupBinds, bootstrap.CgroupBind{Name: b.Name, Source: b.Source, Links: b.Links})
	}
	return nil
}

// attachNetwork wires the default bridge; the other modes need nothing made.
func (s *launch) attachNetwork(ctx context.Context) error {
	if s.h.NetworkMode != "bridge" {
		return nil
	}
	req, err := networkRequest(s.r)
	if err != nil {
		return err
	}
	if s.userns != nil {
		req.NetNS = s.userns.Net
	}
	s.net, err = s.e.networks.Attach(ctx, req)
	if err != nil {
		return err
	}
	s.in.Namespaces = map[specs.LinuxNamespaceType]*os.File{specs.NetworkNamespace: s.net.NetNS}
	return nil
}

// facts gathers what the specification needs to know of the host.
func (s *launch) facts(ctx context.Context) (f spec.Facts, err error) {
	if f.Join, err = s.joins(); err != nil {
		return f, err
	}
	if s.net != nil {
		f.Join[specs.NetworkNamespace] = "/proc/self/ns/net" // by descriptor: see attachNetwork
	}
	if f.User, err = lookUpUser(s.rootfs, s.r.Config.User, s.h.GroupAdd); err != nil {
		return f, err
	}
	if f.Binds, err = s.e.makeMounts(ctx, s.r, s.rootfs); err != nil {
		return f, err
	}
	if f.Devices, _, err = devices(s.h); err != nil {
		return f, err
	}
	if f.Files, err = s.networkFiles(); err != nil {
		return f, err
	}
	if s.userns != nil {
		if err := s.mapFacts(&f); err != nil {
			return f, err
		}
	}
	if f.ShmDir, err = s.e.shmDir(s.r); err != nil {
		return f, err
	}
	if own := s.e.shmOf(s.r.ID); f.ShmDir == own {
		s.cu.Add(func() error { return unix.Unmount(own, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) })
	}
	f.NoTimeNamespace = !s.e.kernel.TimeNamespaceAtExec()
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err == nil && nofile.Max != unix.RLIM_INFINITY {
		f.NofileMax = nofile.Max
	}
	return f, nil
}

// joins opens the namespaces that the container shares with others.
func (s *launch) joins() (map[specs.LinuxNamespaceType]string, error) {
	join := map[specs.LinuxNamespaceType]string{}
	for _, m := range []struct {
		mode string
		t    specs.LinuxNamespaceType
		file string
	}{{s.h.PidMode, specs.PIDNamespace, "pid"}, {s.h.NetworkMode, specs.NetworkNamespace, "net"}, {s.h.IpcMode, specs.IPCNamespace, "ipc"}, {s.h.UTSMode, specs.UTSNamespace, "uts"}} {
		ref, ok := containerMode(m.mode)
		if !ok {
			continue
		}
		other, err := s.e.donor(ref, m.file)
		if err != nil {
			return nil, err
		}
		path := "/proc/" + itoa(other.PID) + "/ns/" + m.file
		f, err := openPlain(path, unix.O_RDONLY)
		if err != nil {
			return nil, errdefs.Wrap(err, "join the "+m.file+" namespace of", "container "+ref)
		}
		join[m.t] = path
		if m.t == specs.PIDNamespace && s.userns == nil { // joined by the parent
			s.plan.PIDNS = s.monitorFD(f) + 1 // 0: none; see fillPlan
			continue
		}
		if s.in.Namespaces == nil {
			s.in.Namespaces = map[specs.LinuxNamespaceType]*os.File{}
		}
		s.in.Namespaces[m.t] = f
	}
	return join, nil
}

// descriptors are what goes along with the program: its own, then the monitor's.
func (s *launch) descriptors(out *bootstrap.Compiled) []int {
	fds := make([]int, 0, len(out.FDs)+len(s.fds))
	for _, list := range [...][]*os.File{out.FDs, s.fds} {
		for _, f := range list {
			fds = append(fds, int(f.Fd()))
		}
	}
	return fds
}

// monitorFD adds a descriptor for the monitor and returns its place among them.
func (s *launch) monitorFD(f *os.File) int {
	s.fds = append(s.fds, f)
	return len(s.fds) - 1
}

// closeFiles closes what was opened for the child and the monitor; the lease is not ours to close.
func (s *launch) closeFiles(l *lease) {
	if s.release != nil {
		_ = s.release() // it ends by itself when we do
	}
	for _, f := range append(s.fds, s.in.CgroupJoin...) {
		if f != l.file() {
			f.Close()
		}
	}
	for _, f := range s.in.Namespaces {
		f.Close()
	}
	if s.userns != nil {
		s.userns.Close()
	}
	for _, f := range append(s.in.Stdio[:], s.in.TerminalSocket, s.rootfs, s.in.RootTree) {
		if f != nil {
			f.Close()
		}
	}
}

// startError puts a failed start in the user's words.
func startError(err error, p *program.Program, r *container.Record) error {
	var f *program.Failure
	if !errors.As(err, &f) {
		return err
	}
	return stepError(f, p.What(f.Index), r.Path, r.Config.WorkingDir)
}

// stepError turns a failed step into an error of the right kind: what is wrong
// with the user's program has exit codes of its own (126, 127).
func stepError(f *program.Failure, what, path, cwd string) error {
	if what == bootstrap.ExecStep {
		switch {
		case f.Errno == unix.ENOENT && filepath.Base(path) == path:
			return errdefs.New(errdefs.NoCommand, "exec: %q: executable file not found in $PATH", path).
				WithHint("check the spelling, or look into the image: berth run --entrypoint sh IMAGE")
		case f.Errno == unix.ENOENT:
			return errdefs.New(errdefs.NoCommand, "exec: %q: stat %s: no such file or directory", path, path).
				WithHint("the file, or the interpreter or loader it asks for, is not in the image")
		case f.Errno == unix.ENOEXEC:
			return errdefs.New(errdefs.NotExecutable, "exec %s: exec format error", path).
				WithHint("it is a script without #! or a program for another processor")
		}
		return errdefs.New(errdefs.NotExecutable, "exec: %q: %w", path, f.Errno)
	}
	if strings.HasPrefix(what, "mount ") && (f.Errno == unix.ENOTDIR || f.Errno == unix.EINVAL && !strings.Contains(what, ": option ")) {
		return errdefs.New(errdefs.InvalidArgument, "cannot start the container: %s: %w", what, f.Errno).
			WithHint("a directory is mounted on a directory and a file on a file: check that the source is of the kind you expect")
	}
	if strings.HasPrefix(what, "set the limit ") {
		return errdefs.New(errdefs.Forbidden, "cannot %s: %w", what, f.Errno).
			WithHint("without CAP_SYS_RESOURCE no limit can be above the caller's own: see ulimit -H")
	}
	if len(what) > 9 && what[:9] == "enter the" {
		return errdefs.New(errdefs.NotExecutable, "cannot enter the working directory %q: %w", cwd, f.Errno)
	}
	return &errdefs.Error{Kind: errdefs.Internal, Op: "start the container", Err: errors.New(what + ": " + f.Errno.Error())}
}

// runningState returns the state of a container that must run.
func (e *Engine) runningState(ref string) (container.State, error) {
	id, err := e.store.Resolve(ref)
	if err != nil {
		return container.State{}, err
	}
	st, err := e.store.LoadState(id)
	if err != nil {
		return st, err
	}
	if st.Status != container.Running && st.Status != container.Paused {
		return st, errdefs.New(errdefs.Conflict, "container %s is not running", ident.Short(id)).WithHint("berth start %s", ref)
	}
	return st, nil
}
