package container

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/container"
	"berth/internal/engine"
)

// Request judges the flags together and returns the request for the image and
// command that follow them.
func (f *CreateFlags) Request(args []string) (engine.CreateRequest, error) {
	r := engine.CreateRequest{Name: f.name, Platform: f.platform, Pull: f.pull, Quiet: f.quiet}
	args, err := f.rootfsArg(args)
	if err != nil {
		return r, err
	}
	switch f.pull {
	case "always", "missing", "never":
	default:
		return r, command.Refuse("invalid pull option: '%s': must be one of \"always\", \"missing\" or \"never\"", f.pull)
	}
	if f.rootfs == "" {
		if args[0] == "" {
			return r, command.Refuse("invalid reference format")
		}
		r.Config.Image, args = args[0], args[1:]
	}
	r.HostConfig.Rootfs = f.rootfs
	r.HostConfig.ContainerIDFile = f.cidfile
	r.Config.Cmd = slices.Clone(args)
	for _, step := range [...]func(*container.Config, *container.HostConfig) error{
		f.process, f.environment, f.life, f.isolation, f.security, f.resources, f.network, f.storage,
	} {
		if err := step(&r.Config, &r.HostConfig); err != nil {
			return r, setup(err)
		}
	}
	return r, nil
}

// setup marks err as made before the engine was asked.
func setup(err error) error { return &command.Setup{Err: err} }

// rootfsArg makes "--rootfs DIR", "--rootfs=DIR" and "--rootfs --rm DIR" mean
// the same: if the value was not joined to the flag, the first word that is no
// flag is the directory, and flags may go on behind it.
func (f *CreateFlags) rootfsArg(args []string) ([]string, error) {
	if f.rootfs == rootfsNext && len(args) > 0 {
		f.rootfs = args[0]
		if err := f.set.Parse(args[1:]); err != nil {
			return nil, &command.UsageError{Path: "berth run", Err: err, Flags: true}
		}
		args = f.set.Args()
	}
	if f.rootfs == rootfsNext || f.rootfs == "" && len(args) == 0 {
		return nil, command.Refuse("no image and no root directory given")
	}
	if f.rootfs != "" {
		abs, err := filepath.Abs(f.rootfs)
		if err != nil {
			return nil, setup(err)
		}
		f.rootfs = abs
	}
	return args, nil
}

// process fills in the program and its streams.
func (f *CreateFlags) process(c *container.Config, h *container.HostConfig) error {
	c.Tty, c.OpenStdin = f.tty, f.interactive
	c.User, c.Hostname, c.Domainname = f.user, f.hostname, f.domainname
	if f.workdir != "" && !path.IsAbs(f.workdir) {
		return fmt.Errorf("the working directory '%s' is invalid, it needs to be an absolute path", f.workdir)
	}
	c.WorkingDir = f.workdir
	if f.set.Changed("entrypoint") {
		// An empty entrypoint takes the image's away: a list with one empty word says so.
		c.Entrypoint = []string{f.entrypoint}
	}
	if f.set.Changed("init") {
		h.Init = &f.init
	}
	h.GroupAdd = f.groups.Values
	return f.streams(c)
}

// streams sets which streams a client attaches. Without -a these are the
// outputs, and the input with -i.
func (f *CreateFlags) streams(c *container.Config) error {
	if len(f.attach.Values) == 0 {
		c.AttachStdout, c.AttachStderr, c.AttachStdin = true, true, f.interactive
	} else {
		c.AttachStdin = slices.Contains(f.attach.Values, "stdin")
		c.AttachStdout = slices.Contains(f.attach.Values, "stdout")
		c.AttachStderr = slices.Contains(f.attach.Values, "stderr")
	}
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	return nil
}

// environment reads variables and labels: files first, so that flags win.
func (f *CreateFlags) environment(c *container.Config, _ *container.HostConfig) error {
	env, err := flagvalue.ReadEnvFiles(f.envFiles.Values, f.client.LookupEnv)
	if err != nil {
		return err
	}
	c.Env = append(env, f.env.Values...)
	labels, err := flagvalue.ReadEnvFiles(f.labelFiles.Values, nil)
	if err != nil {
		return err
	}
	if labels = append(labels, f.labels.Values...); len(labels) > 0 {
		c.Labels = flagvalue.Pairs(labels)
	}
	return nil
}

// life fills in how the container ends, starts again and logs.
func (f *CreateFlags) life(c *container.Config, h *container.HostConfig) error {
	policy, err := parseRestart(f.restart)
	if err != nil {
		return err
	}
	if f.rm && policy.Name != "" && policy.Name != "no" {
		return fmt.Errorf("conflicting options: cannot specify both --restart and --rm")
	}
	h.RestartPolicy, h.AutoRemove = policy, f.rm
	c.StopSignal = f.stopSignal
	if f.set.Changed("stop-timeout") {
		c.StopTimeout = &f.stopTimeout
	}
	h.Runtime = f.runtime
	h.LogConfig = container.LogConfig{Type: f.logDriver, Config: flagvalue.Pairs(f.logOpts.Values)}
	if f.logDriver == "none" && len(f.logOpts.Values) > 0 {
		return fmt.Errorf("invalid logging opts for driver none")
	}
	return nil
}

func parseRestart(s string) (container.RestartPolicy, error) {
	name, count, counted := strings.Cut(s, ":")
	p := container.RestartPolicy{Name: name}
	switch name {
	case "", "no", "always", "unless-stopped", "on-failure":
	default:
		return p, fmt.Errorf("invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'", name)
	}
	if !counted {
		return p, nil
	}
	n, err := strconv.Atoi(count)
	switch {
	case err != nil:
		return p, fmt.Errorf("invalid restart policy format: maximum retry count must be an integer")
	case name != "on-failure":
		return p, fmt.Errorf("invalid restart policy: maximum retry count can only be used with 'on-failure'")
	case n < 0:
		return p, fmt.Errorf("invalid restart policy: maximum retry count cannot be negative")
	}
	p.MaximumRetryCount = n
	return p, nil
}

// isolation checks the namespace modes.
func (f *CreateFlags) isolation(_ *container.Config, h *container.HostConfig) error {
	for _, m := range [...]struct {
		flag, kind, value string
		ok                bool
	}{
		{"pid", "PID", f.pid, f.pid == "" || f.pid == "host" || joins(f.pid)},
		{"uts", "UTS", f.uts, f.uts == "" || f.uts == "host" || joins(f.uts)},
		{"ipc", "IPC", f.ipc, slices.Contains([]string{"", "private", "shareable", "host", "none"}, f.ipc) || joins(f.ipc)},
		{"cgroupns", "CGROUP", f.cgroupns, f.cgroupns == "" || f.cgroupns == "host" || f.cgroupns == "private"},
	} {
		if !m.ok {
			return fmt.Errorf("--%s: invalid %s mode", m.flag, m.kind)
		}
	}
	h.PidMode, h.UTSMode, h.IpcMode, h.CgroupnsMode, h.UsernsMode = f.pid, f.uts, f.ipc, f.cgroupns, f.userns
	h.Privileged, h.ReadonlyRootfs = f.privileged, f.readOnly
	h.CapAdd, h.CapDrop = f.capAdd.Values, f.capDrop.Values
	h.Sysctls = f.sysctls.Values
	return nil
}

// joins reports whether s names another container's namespace.
func joins(s string) bool {
	name, ok := strings.CutPrefix(s, "container:")
	return ok && name != ""
}

// security reads --security-opt. A seccomp profile is read here, since the file
// is the client's; the record then holds its content.
func (f *CreateFlags) security(_ *container.Config, h *container.HostConfig) error {
	for _, opt := range f.securityOpts.Values {
		key, value, ok := strings.Cut(opt, "=")
		if !ok {
			key, value, ok = strings.Cut(opt, ":") // the form of Docker before 1.11
		}
		switch {
		case opt == "no-new-privileges":
		case !ok:
			return fmt.Errorf("invalid --security-opt: %q", opt)
		case key == "systempaths" && value == "unconfined":
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			continue
		case key == "seccomp" && value != "unconfined" && value != "builtin":
			profile, err := seccompProfile(value)
			if err != nil {
				return err
			}
			opt = "seccomp=" + profile
		case !slices.Contains([]string{"apparmor", "label", "no-new-privileges", "seccomp"}, key):
			return fmt.Errorf("invalid --security-opt: %q", opt)
		default:
			opt = key + "=" + value
		}
		h.SecurityOpt = append(h.SecurityOpt, opt)
	}
	return nil
}

func seccompProfile(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("opening seccomp profile (%s) failed: %w", file, err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return "", fmt.Errorf("compacting json for seccomp profile (%s) failed: %w", file, err)
	}
	return compact.String(), nil
}
