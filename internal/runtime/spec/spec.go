package spec

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/internal/container"
	"berth/internal/errdefs"
)

// Facts are what the specification needs from the host.
type Facts struct {
	User User // resolved in the rootfs
	// Binds are the bind mounts behind the record's mounts, in order: volumes already have a directory.
	Binds []specs.Mount
	// Files are berth's own bind mounts: /etc/hosts, /etc/hostname, /etc/resolv.conf.
	Files []specs.Mount
	// Devices are the host's nodes asked for with --device, or all of them when privileged.
	Devices []specs.LinuxDevice
	// ShmDir is a host directory shared as /dev/shm, "" : one of the container's own.
	ShmDir string
	// NofileMax is the hard limit of open files that this process may give, 0: unlimited.
	NofileMax uint64
	// NoTimeNamespace leaves the container the host's clocks, on kernels that
	// have no time namespace or enter a new one only by fork (before 6.2).
	NoTimeNamespace bool
	// Namespaces to join by path, by type; a missing type is decided by the modes of the record.
	Join map[specs.LinuxNamespaceType]string
}

// Build returns the specification of a container.
func Build(r *container.Record, f Facts) (*specs.Spec, error) {
	h := &r.HostConfig
	s := &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: "rootfs", Readonly: h.ReadonlyRootfs},
		Hostname: r.Config.Hostname, Domainname: r.Config.Domainname,
		Linux: &specs.Linux{Devices: f.Devices},
	}
	namespaces(s, h, f)
	s.Mounts = mounts(r, f)
	if !h.Privileged {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = maskedPaths(), readonlyPaths()
	}
	if h.MaskedPaths != nil {
		s.Linux.MaskedPaths = h.MaskedPaths
	}
	if h.ReadonlyPaths != nil {
		s.Linux.ReadonlyPaths = h.ReadonlyPaths
	}
	if err := sysctls(s, r); err != nil {
		return nil, err
	}
	p, err := process(r, f)
	if err != nil {
		return nil, err
	}
	s.Process = p
	return s, nil
}

// namespaces gives the container new namespaces of every type, but for those
// that the modes share with the host (absent) or with another container (a path).
func namespaces(s *specs.Spec, h *container.HostConfig, f Facts) {
	host := func(mode string) bool { return mode == "host" }
	add := func(t specs.LinuxNamespaceType, withHost bool) {
		if p := f.Join[t]; p != "" {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t, Path: p})
		} else if !withHost {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: t})
		}
	}
	add(specs.MountNamespace, false)
	add(specs.PIDNamespace, host(h.PidMode))
	add(specs.NetworkNamespace, host(h.NetworkMode))
	add(specs.IPCNamespace, host(h.IpcMode))
	add(specs.UTSNamespace, host(h.UTSMode))
	add(specs.CgroupNamespace, host(h.CgroupnsMode))
	add(specs.TimeNamespace, f.NoTimeNamespace)
	add(specs.UserNamespace, true)
}

// HasNamespace reports whether the container gets a new or joined namespace of type t.
func HasNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == t {
			return true
		}
	}
	return false
}

// mounts are the system's, the user's and berth's own files; the user's win.
func mounts(r *container.Record, f Facts) []specs.Mount {
	h := &r.HostConfig
	shm := h.ShmSize
	if shm == 0 {
		shm = DefaultShmSize
	}
	taken := map[string]bool{}
	for _, m := range f.Binds {
		taken[path.Clean(m.Destination)] = true
	}
	var list []specs.Mount
	for _, m := range systemMounts(shm, h.Privileged) {
		switch {
		case taken[m.Destination]:
			continue
		case m.Destination == "/dev/pts" && taken["/dev"], m.Destination == "/dev/shm" && h.IpcMode == "none":
			continue
		case m.Destination == "/dev/shm" && f.ShmDir != "":
			m = specs.Mount{Destination: "/dev/shm", Type: "bind", Source: f.ShmDir, Options: []string{"rbind"}}
		case m.Destination == "/dev/pts" && r.IDs != nil && r.IDs.Count <= ttyGroup:
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return o == "gid="+strconv.Itoa(ttyGroup) })
		}
		list = append(list, m)
	}
	for _, m := range f.Files {
		if !taken[m.Destination] {
			list = append(list, m)
		}
	}
	return append(list, f.Binds...)
}

// sysctls checks that each key belongs to a namespace of the container's own
// (CVE-2022-0811: a value may not smuggle in a second key) and adds the defaults.
func sysctls(s *specs.Spec, r *container.Record) error {
	h := &r.HostConfig
	s.Linux.Sysctl = map[string]string{}
	net, ipc := HasNamespace(s, specs.NetworkNamespace), HasNamespace(s, specs.IPCNamespace)
	if net && h.NetworkMode != "host" && !strings.HasPrefix(h.NetworkMode, "container:") {
		s.Linux.Sysctl = networkSysctls()
		if r.IDs != nil { // groups outside the map are refused
			s.Linux.Sysctl["net.ipv4.ping_group_range"] = "0 " + strconv.FormatUint(uint64(r.IDs.Count-1), 10)
		}
	}
	for key, value := range h.Sysctls {
		owned := false
		switch {
		case strings.HasPrefix(key, "net."):
			owned = net
		case strings.HasPrefix(key, "fs.mqueue."), strings.HasPrefix(key, "kernel.msg"), strings.HasPrefix(key, "kernel.shm"), key == "kernel.sem":
			owned = ipc
		}
		if strings.ContainsAny(key, "/+=\n ") || strings.ContainsAny(value, "\n") || strings.Contains(key, "..") {
			return errdefs.New(errdefs.InvalidArgument, "invalid sysctl %q", key+"="+value)
		}
		if !owned {
			return errdefs.New(errdefs.InvalidArgument, "sysctl %q is not in a separate kernel namespace", key).
				WithHint("only net.*, fs.mqueue.*, kernel.msg*, kernel.sem and kernel.shm* belong to a container, and only with its own network or ipc namespace")
		}
		s.Linux.Sysctl[key] = value
	}
	return nil
}

func process(r *container.Record, f Facts) (*specs.Process, error) {
	cwd := r.Config.WorkingDir
	if cwd == "" {
		cwd = "/"
	}
	if !path.IsAbs(cwd) {
		return nil, errdefs.New(errdefs.InvalidArgument, "the working directory %q is invalid, it needs to be an absolute path", cwd)
	}
	p := &specs.Process{
		Args: append([]string{r.Path}, r.Args...), Cwd: cwd, Terminal: r.Config.Tty, User: f.User.OCI(),
		Env:             Env(r.Config.Env, r.Config.Hostname, r.Config.Tty, f.User.Home),
		NoNewPrivileges: NoNewPrivileges(r.HostConfig.SecurityOpt),
	}
	if adj := r.HostConfig.OomScoreAdj; adj != 0 {
		p.OOMScoreAdj = &adj
	}
	p.Rlimits = rlimits(r.HostConfig.Ulimits, f.NofileMax)
	return p, nil
}

// NoNewPrivileges reports whether the security options ask for it.
func NoNewPrivileges(opts []string) bool {
	for _, o := range opts {
		if o == "no-new-privileges" || o == "no-new-privileges=true" || o == "no-new-privileges:true" {
			return true
		}
	}
	return false
}

func rlimits(asked []container.Ulimit, nofileMax uint64) []specs.POSIXRlimit {
	list := []specs.POSIXRlimit{}
	hasNofile := false
	unlimited := func(v int64) uint64 {
		if v < 0 {
			return ^uint64(0)
		}
		return uint64(v)
	}
	for _, u := range asked {
		hasNofile = hasNofile || u.Name == "nofile"
		list = append(list, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Soft: unlimited(u.Soft), Hard: unlimited(u.Hard)})
	}
	if !hasNofile {
		hard := uint64(defaultNofileHard)
		if nofileMax != 0 {
			hard = min(hard, nofileMax)
		}
		list = append(list, specs.POSIXRlimit{Type: "RLIMIT_NOFILE", Soft: min(defaultNofileSoft, hard), Hard: hard})
	}
	return list
}

// Env completes an environment as Docker does: a PATH, the host name, TERM
// with a terminal, and HOME; what the image or user sets wins.
func Env(set []string, hostname string, tty bool, home string) []string {
	has := map[string]bool{}
	for _, e := range set {
		k, _, _ := strings.Cut(e, "=")
		has[k] = true
	}
	env := make([]string, 0, len(set)+4)
	if !has["PATH"] {
		env = append(env, DefaultEnv)
	}
	if hostname != "" && !has["HOSTNAME"] {
		env = append(env, "HOSTNAME="+hostname)
	}
	if tty && !has["TERM"] {
		env = append(env, "TERM=xterm")
	}
	env = append(env, set...)
	if !has["HOME"] {
		env = append(env, "HOME="+home)
	}
	return env
}

// CgroupPath is the container's cgroup below every hierarchy's root.
func CgroupPath(parent, id string) string {
	if parent == "" {
		parent = DefaultCgroupParent
	}
	return path.Join("/", parent, id)
}

// DefaultCgroupParent is Docker's, so that the paths in every tutorial and monitoring agent hold.
const DefaultCgroupParent = "/docker"

// ParseSignal returns the number of a signal by name ("TERM", "SIGTERM") or number.
func ParseSignal(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 64 {
			return 0, errdefs.New(errdefs.InvalidArgument, "invalid signal: %s", s)
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	for i, n := range strings.Fields(signalNames) {
		if n == name {
			return i + 1, nil
		}
	}
	if n, ok := realtimeSignal(name); ok {
		return n, nil
	}
	return 0, errdefs.New(errdefs.InvalidArgument, "invalid signal: %s", s).WithHint("kill -l lists the names")
}

// signalNames are the signals 1 to 31 in order (signal(7), x86 and arm).
const signalNames = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"

// realtimeSignal reads RTMIN, RTMIN+n, RTMAX and RTMAX-n.
func realtimeSignal(name string) (int, bool) {
	const rtmin, rtmax = 34, 64
	for prefix, base := range map[string]int{"RTMIN": rtmin, "RTMAX": rtmax} {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		n := 0
		if rest != "" {
			var err error
			if n, err = strconv.Atoi(rest); err != nil {
				return 0, false
			}
		}
		if base += n; base >= rtmin && base <= rtmax {
			return base, true
		}
	}
	return 0, false
}
