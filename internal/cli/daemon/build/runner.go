package build

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/build/solve"
	"berth/internal/container"
	"berth/internal/engine"
)

// runner runs the programs of RUN steps as the engine's steps. It is where the
// build and the engine meet; neither knows the other.
type runner struct {
	engine    *engine.Engine
	hosts     []string
	shmSize   int64
	resources container.Resources
	agents    *agents
	warn      func(string)
}

// newRunner returns the runner of a request.
func newRunner(e *engine.Engine, r *request, a *agents, warn func(string)) *runner {
	return &runner{
		engine: e, hosts: r.hosts.Values, shmSize: int64(r.shmSize), agents: a, warn: warn,
		resources: container.Resources{
			CgroupParent: r.cgroupParent, Memory: int64(r.memory), MemorySwap: int64(r.swap),
			CPUShares: r.cpuShares, CPUPeriod: r.cpuPeriod, CPUQuota: r.cpuQuota,
			CpusetCpus: r.cpusetCPUs, CpusetMems: r.cpusetMems, Ulimits: r.ulimits,
		},
	}
}

// surroundings are what all programs see besides their steps.
func (r *request) surroundings() []string {
	list := slices.Clone(r.hosts.Values)
	slices.Sort(list)
	for _, u := range r.ulimits {
		list = append(list, fmt.Sprintf("ulimit %s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	if r.shmSize != 0 {
		list = append(list, fmt.Sprintf("shm-size %d", r.shmSize))
	}
	return list
}

// Run is solve.Runner's.
func (r *runner) Run(ctx context.Context, req *solve.RunRequest) error {
	if err := canRun(req.Platform); err != nil {
		return err
	}
	s, done, err := r.request(req)
	defer done()
	if err != nil {
		return err
	}
	res, err := r.engine.Containers.RunStep(ctx, s)
	for _, w := range res.Warnings {
		r.warn(w)
	}
	switch {
	case err != nil:
		return err
	case res.ExitCode == 0:
		return nil
	}
	p := &processError{args: s.Args, exit: &solve.ExitError{Code: res.ExitCode, Signal: res.Signal}}
	if res.OOMKilled {
		p.why = ": it used more memory than it may (--memory)"
	}
	return p
}

// request puts a request of the solver in the engine's words. done, never nil,
// is called when the program has ended.
func (r *runner) request(req *solve.RunRequest) (s engine.StepRequest, done func(), err error) {
	var undo []func()
	done = func() {
		for _, f := range undo {
			f()
		}
	}
	step := req.Step
	s = engine.StepRequest{
		ID: req.ID, Root: req.Root, Args: step.Args, Env: withProxy(step.Env, step.Proxy), Dir: step.Dir, User: step.User,
		Hostname: step.Hostname, ExtraHosts: r.hosts, NetworkMode: step.Network, Insecure: step.Insecure,
		ShmSize: r.shmSize, Resources: r.resources, Stdout: req.Stdout, Stderr: req.Stderr,
	}
	for _, f := range step.Files {
		s.Mounts = append(s.Mounts, engine.StepMount{Target: "/dev/pipes/" + f.Name, Data: f.Data, Mode: f.Mode})
	}
	for i := range req.Mounts {
		over, err := r.mount(&s, &req.Mounts[i])
		if err != nil {
			return s, done, err
		}
		undo = append(undo, over)
	}
	return s, done, nil
}

// maxSecret is BuildKit's limit for a secret, in bytes.
const maxSecret = 500 << 10

// mount adds a RUN --mount to the request. done is called when the program has ended.
func (r *runner) mount(s *engine.StepRequest, m *solve.RunMount) (done func(), err error) {
	done = func() {}
	out := engine.StepMount{Target: m.Target, ReadOnly: m.ReadOnly, Source: m.Source, Path: m.Path}
	switch m.Type {
	case plan.MountTmpfs:
		out.Tmpfs, out.Size = true, m.Size
	case plan.MountSecret:
		data, err := io.ReadAll(io.NewSectionReader(m.Source, 0, maxSecret+1))
		if err != nil {
			return done, fmt.Errorf("read the secret %s: %w", m.ID, err)
		}
		if m.Env != "" {
			s.Env = append(s.Env, m.Env+"="+string(data))
		}
		if m.Target == "" {
			return done, nil
		}
		out = engine.StepMount{Target: m.Target, Data: data, Mode: m.Mode, UID: m.UID, GID: m.GID}
	case plan.MountSSH:
		if out.Source, done, err = r.agents.forStep(m); err != nil {
			return done, err
		}
		if !slices.ContainsFunc(s.Env, func(e string) bool { return strings.HasPrefix(e, "SSH_AUTH_SOCK=") }) {
			s.Env = append(s.Env, "SSH_AUTH_SOCK="+m.Target)
		}
	}
	s.Mounts = append(s.Mounts, out)
	return done, nil
}

// withProxy adds the proxy variables that the environment does not have.
func withProxy(env, proxy []string) []string {
	all := slices.Clone(env)
	for _, p := range proxy {
		name, _, _ := strings.Cut(p, "=")
		if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			all = append(all, p)
		}
	}
	return all
}

// processError is a program that ended with a code other than 0.
type processError struct {
	args []string
	exit *solve.ExitError
	why  string
}

// Error returns BuildKit's words.
func (e *processError) Error() string {
	return fmt.Sprintf("process %q did not complete successfully: %v%s", strings.Join(e.args, " "), e.exit, e.why)
}

// Unwrap returns the exit code as an error.
func (e *processError) Unwrap() error { return e.exit }

// classic returns the words of Docker's first builder.
func (e *processError) classic() string {
	return fmt.Sprintf("The command '%s' returned a non-zero code: %d", strings.Join(e.args, " "), e.exit.Code)
}
