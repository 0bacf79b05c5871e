package engine

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"berth/internal/cleanup"
	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/runtime/bootstrap"
	"berth/internal/runtime/monitor"
)

// StepRequest asks for one program of a build (RUN), to be run to its end.
type StepRequest struct {
	// ID names the step's cgroup, network and lease while it lives: 64 hex
	// digits that no container and no layer has. "": made up.
	ID string
	// Root is the root directory: a detached mount (snapshot.Draft.Mount), or any
	// directory of the host. Every mount target must exist in it.
	Root *os.File
	Args []string // the program and its arguments
	Env  []string // "K=V"; PATH, HOSTNAME and HOME are added if missing
	// Dir is the working directory, absolute; "": "/". If it is missing it is
	// made, and it and its missing parents belong to User.
	Dir    string
	User   string // "", "user", "uid", "user:group", ...; looked up in Root's own accounts
	Mounts []StepMount

	Hostname   string // "": "buildkitsandbox", the name that Docker gives, so that builds can be repeated
	ExtraHosts []string
	DNS        []string
	DNSSearch  []string
	DNSOptions []string
	// NetworkMode is "" or "default" or "bridge", "none", or "host". The last
	// one, as Insecure, is the user's to allow; the caller has asked.
	NetworkMode string
	// Insecure gives the program what --privileged gives: all capabilities and
	// devices, no seccomp filter, nothing of /proc and /sys hidden.
	Insecure  bool
	ShmSize   int64 // bytes of /dev/shm; 0: 64 MiB
	Resources container.Resources

	// Stdout and Stderr take the output; nil: nowhere. Pipes, sockets and regular
	// files (*os.File) are given to the program as they are, anything else is
	// written to from other goroutines: both may be written to at the same time.
	// Standard input is empty.
	Stdout, Stderr io.Writer
	// Terminal, when not nil, takes the place of both.
	Terminal *StepTerminal
}

// StepResult is how a step's program ended.
type StepResult struct {
	ExitCode  int // its own, or 128 + the signal's number
	Signal    int // that ended it; 0: none
	OOMKilled bool
	Warnings  []string // what was asked and cannot be done here, one line each
}

// RunStep runs a program in a mounted tree, with the isolation and the rights
// of a container, but without a record: no list shows it, and when RunStep
// returns nothing is left of it. It may be called by many goroutines at once.
//
// A program that ran is a result, whatever its exit code. An error is one that
// could not be started (errdefs.NoCommand and NotExecutable are the user's
// doing) or, when ctx is done, was killed. If the calling process is killed, the
// program is killed at once by its parent (see monitor.ServeNursery), and the
// next command takes down the rest, as for a container: the lease is free.
func (c *Containers) RunStep(ctx context.Context, r StepRequest) (_ StepResult, err error) {
	c.e.reconcile(ctx)
	if r.ID == "" {
		r.ID = ident.New()
	}
	s, err := c.e.newStep(&r)
	if err != nil {
		return StepResult{}, err
	}
	l, err := c.e.acquireEnded(ctx, r.ID) // a reconcile may look into the new file
	if err != nil {
		return StepResult{}, err
	}
	l.cgroupParent = r.Resources.CgroupParent
	l.note(os.Getpid())
	s.lease = l
	s.cu.Add(func() error { return os.RemoveAll(c.e.stepDir(r.ID)) })
	defer func() {
		s.closeFiles()
		s.console.Close() //nolint:errcheck // nil if there is none
		if cerr := s.cu.Run(); cerr != nil {
			err = errors.Join(err, cerr, l.pass()) // whoever comes next finishes it
			return
		}
		err = errors.Join(err, l.end())
	}()
	if err := s.prepareStep(ctx); err != nil {
		return StepResult{}, err
	}
	return s.run(ctx)
}

// step is one RunStep: a launch of a container that has no record on the disk.
type step struct {
	launch
	req     *StepRequest
	lease   *lease
	outputs []*output
	console *os.File // our end of what a terminal comes through; nil: none is wanted
}

// stepDir holds what a step needs while it runs. It lies apart from the
// run-time files of containers, which are removed when there is no record.
func (e *Engine) stepDir(id string) string { return filepath.Join(e.opt.StateRoot, "steps", id) }

// sandboxName is Docker's name of the host that a build's programs see.
const sandboxName = "buildkitsandbox"

// newStep checks the request and puts it in a container's words.
func (e *Engine) newStep(r *StepRequest) (*step, error) {
	if !ident.Valid(r.ID) || e.snapshots.Exists(r.ID) {
		return nil, errdefs.New(errdefs.InvalidArgument, "invalid id %q of a build step", r.ID)
	}
	if len(r.Args) == 0 || r.Args[0] == "" {
		return nil, errdefs.New(errdefs.InvalidArgument, "no command specified")
	}
	rec := &container.Record{
		ID: r.ID, Path: r.Args[0], Args: r.Args[1:],
		Config: container.Config{Hostname: r.Hostname, User: r.User, Env: r.Env, WorkingDir: r.Dir, Tty: r.Terminal != nil},
		HostConfig: container.HostConfig{
			NetworkMode: r.NetworkMode, ExtraHosts: r.ExtraHosts, DNS: r.DNS, DNSSearch: r.DNSSearch, DNSOptions: r.DNSOptions,
			Privileged: r.Insecure, ShmSize: r.ShmSize, Resources: r.Resources,
		},
	}
	if r.Hostname == "" {
		rec.Config.Hostname = sandboxName
	}
	withDefaults(rec)
	if _, joins := containerMode(rec.HostConfig.NetworkMode); joins {
		return nil, errdefs.New(errdefs.InvalidArgument, "a build step cannot share the network of a container").
			WithHint("the networks of a build are default, none and host")
	}
	if err := e.validate(rec); err != nil {
		return nil, err
	}
	s := &step{launch: launch{e: e, r: rec, h: &rec.HostConfig, cu: cleanup.New(), filesDir: e.stepDir(r.ID)}, req: r}
	s.anywhere = true // what a program copies from there into a layer is the same in every build
	s.in.OwnWorkingDir = true
	return s, nil
}

// prepareStep makes all that the program needs and compiles its start.
func (s *step) prepareStep(ctx context.Context) error {
	s.in.Staging = bootstrap.Staging{Root: filepath.Join(s.filesDir, "root"), Trees: filepath.Join(s.filesDir, "trees")}
	for _, dir := range [...]string{s.in.Staging.Root, s.in.Staging.Trees} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return errdefs.Wrap(err, "prepare", "the state directory")
		}
	}
	if err := s.surround(ctx, s.takeRoot); err != nil {
		return err
	}
	mounts, err := s.mounts()
	if err != nil {
		return err
	}
	if err := s.specify(ctx, mounts); err != nil {
		return err
	}
	if err := s.checkTargets(); err != nil {
		return err
	}
	return s.stdio()
}

// run starts the program in the nursery and waits for its end.
func (s *step) run(ctx context.Context) (StepResult, error) {
	out, err := bootstrap.Compile(s.in)
	if err != nil {
		return StepResult{}, err
	}
	conn, err := s.e.nursery.connect()
	if err != nil {
		return StepResult{}, err
	}
	defer conn.Close()
	plan := monitor.Plan{
		ID: s.r.ID, CloneFlags: bootstrap.CloneFlags(s.in.Spec), ProgramFDs: len(out.FDs),
		PIDNS: -1, Cgroup: -1, StdinW: -1, StdoutR: -1, StderrR: -1, TermSocket: -1, Lease: -1,
	}
	if s.cgroupDir != nil {
		plan.Cgroup = len(out.FDs) + s.monitorFD(s.cgroupDir)
	}
	if err := monitor.Send(conn.FD(), &plan, out.Program, s.descriptors(out)); err != nil {
		return StepResult{}, err
	}
	_, err = conn.AwaitStart()
	s.closeFiles()
	if err != nil {
		return StepResult{}, startError(err, out.Program, s.r)
	}
	copied := s.copyOutputs()
	if s.console != nil {
		if copied, err = s.converse(); err != nil {
			conn.Kill()
			_, kerr := conn.AwaitEnd()
			return StepResult{}, errors.Join(err, kerr)
		}
	}
	stop := context.AfterFunc(ctx, conn.Kill)
	end, err := conn.AwaitEnd()
	stop()
	if err != nil { // its parent was killed: nobody but us knows of it now
		err = errors.Join(err, s.e.killGroup(context.WithoutCancel(ctx), s.h.CgroupParent, s.r.ID))
	}
	werr := copied()
	switch {
	case ctx.Err() != nil:
		return StepResult{}, context.Cause(ctx)
	case err != nil:
		return StepResult{}, err
	case werr != nil:
		return StepResult{}, errdefs.Wrap(werr, "pass on", "the output of the program")
	}
	return StepResult{
		ExitCode: end.Code, Signal: end.Signal, Warnings: s.warnings,
		OOMKilled: s.e.oomKilled(s.h.CgroupParent, s.r.ID),
	}, nil
}
