package bootstrap

import (
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// Input is everything a container's program is compiled from.
type Input struct {
	Spec *specs.Spec
	// Rootfs is the host path of the root filesystem: a mount point when
	// RootfsMounted, else a plain directory that is bound onto itself.
	Rootfs        string
	RootfsMounted bool
	// RootTree, when not nil, is the root filesystem as a detached mount, and
	// stands in place of Rootfs.
	RootTree *os.File
	// Sources are what the bind mounts of Spec show, by cleaned target, where
	// that is no path of the host. They and RootTree need Staging.
	Sources map[string]Source
	Staging Staging
	// OwnWorkingDir gives the working directory to the user where it has to be made.
	OwnWorkingDir bool
	// CgroupJoin are open files into which the child writes "0" to join its cgroups.
	CgroupJoin []*os.File
	// CgroupBinds are shown below /sys/fs/cgroup (v1); with none, cgroup2 is mounted there.
	CgroupBinds []CgroupBind
	// Namespaces are open namespaces to join instead of new ones. The pid
	// namespace is here with UserNS only; else it is joined by the parent.
	Namespaces map[specs.LinuxNamespaceType]*os.File
	// Stdio are the child's descriptors 0 to 2; unused with a terminal.
	Stdio [3]*os.File
	// TerminalSocket receives the master of the terminal when Spec.Process.Terminal.
	TerminalSocket *os.File
	// Bounding and Effective are the capability sets as bit masks (capabilities(7)):
	// the most that any program of the container can ever have, and what its
	// first process starts with when it is root.
	Bounding, Effective uint64
	// Seccomp is a compiled filter (struct sock_filter, native byte order), nil: unconfined.
	Seccomp []byte
	// UserNS, when not nil, is an open user namespace with its maps written: the
	// container is in it, and its new namespaces belong to it. Spec lists it, by
	// any path. Rootfs is a mount point then, or there is RootTree, which needs no
	// Staging: its files have the owners that the namespace's root may see as its own.
	UserNS *os.File
	// HostInit is the host path of berth's executable, bound at InitPath as PID 1 (--init); "" : none.
	HostInit string
	// ConsoleOwner is the uid that owns the terminal.
	ConsoleOwner uint32
	// IsDir tells whether a host path is a directory, so that a bind's target is made alike.
	IsDir func(source string) bool
}

// CgroupBind is one v1 hierarchy as the container sees it.
type CgroupBind struct {
	Name   string   // directory below /sys/fs/cgroup: "cpu", "cpu,cpuacct"
	Source string   // the container's own directory on the host
	Links  []string // further names: "cpu" -> "cpu,cpuacct"
}

// InitPath is where --init's program stands in the container.
const InitPath = "/dev/init"

// Compiled is a program and the descriptors that it names.
type Compiled struct {
	Program *program.Program
	FDs     []*os.File
}

// compiler holds the state of one compilation.
type compiler struct {
	b    *program.Builder
	host *program.Builder // what is done as the host's root: b itself, or with UserNS what comes before
	in   Input
	fds  []*os.File
	root program.Reg // the rootfs
	proc program.Reg // the container's /proc, detached or attached
	// joins means that the container runs already: this is one more process of it.
	joins bool
}

// Compile returns the program of a new container.
func Compile(in Input) (*Compiled, error) {
	c := newCompiler(in)
	c.begin()
	if in.UserNS != nil {
		c.b = c.host.Part()
	}
	c.joinCgroup()
	c.enterNamespaces()
	c.openRoot()
	c.mountProc()
	c.writeSysctls()
	if err := c.mountAll(); err != nil {
		return nil, err
	}
	c.maskPaths()
	c.terminal()
	c.pivot()
	if err := c.becomeProcess(in.Spec.Process); err != nil {
		return nil, err
	}
	if in.UserNS != nil {
		c.enterUserNamespace()
	}
	return &Compiled{Program: c.host.Program(), FDs: c.fds}, nil
}

func newCompiler(in Input) *compiler {
	b := program.NewBuilder()
	return &compiler{b: b, host: b, in: in}
}

// fd makes f one of the passed descriptors.
func (c *compiler) fd(f *os.File) program.Arg {
	for i, have := range c.fds {
		if have == f {
			return program.FD(i)
		}
	}
	c.fds = append(c.fds, f)
	return program.FD(len(c.fds) - 1)
}

func (c *compiler) begin() {
	var none [8]byte
	c.b.Call("unblock signals", unix.SYS_RT_SIGPROCMASK, program.Int(unix.SIG_SETMASK), program.Bytes(none[:]), program.Int(0), program.Int(8))
	c.b.Call("set the umask", unix.SYS_UMASK, program.Int(0))
}

func (c *compiler) joinCgroup() {
	for _, f := range c.in.CgroupJoin {
		c.b.Call("join cgroup "+f.Name(), unix.SYS_WRITE, c.fd(f), program.Str("0"), program.Int(1))
	}
}

// nsFlags are the CLONE_NEW* of the OCI namespace types.
func nsFlag(t specs.LinuxNamespaceType) uint64 {
	switch t {
	case specs.PIDNamespace:
		return unix.CLONE_NEWPID
	case specs.NetworkNamespace:
		return unix.CLONE_NEWNET
	case specs.MountNamespace:
		return unix.CLONE_NEWNS
	case specs.IPCNamespace:
		return unix.CLONE_NEWIPC
	case specs.UTSNamespace:
		return unix.CLONE_NEWUTS
	case specs.UserNamespace:
		return unix.CLONE_NEWUSER
	case specs.CgroupNamespace:
		return unix.CLONE_NEWCGROUP
	case specs.TimeNamespace:
		return unix.CLONE_NEWTIME
	}
	return 0
}

// lateNamespaces are made by the child itself: the cgroup namespace after it
// has joined its cgroup; the time namespace because clone3 refuses it together
// with CLONE_VM (it takes effect at execve, Linux 6.2).
const lateNamespaces = unix.CLONE_NEWCGROUP | unix.CLONE_NEWTIME

// CloneFlags returns the namespaces that the starter's clone3 makes. With a user
// namespace, which they shall belong to, there are none: the program makes them.
func CloneFlags(s *specs.Spec) uint64 {
	for _, ns := range s.Linux.Namespaces {
		if ns.Type == specs.UserNamespace {
			return 0
		}
	}
	return newNamespaces(s) &^ lateNamespaces
}

func newNamespaces(s *specs.Spec) (flags uint64) {
	for _, ns := range s.Linux.Namespaces {
		if ns.Path == "" {
			flags |= nsFlag(ns.Type)
		}
	}
	return flags
}

func (c *compiler) enterNamespaces() {
	b, fresh := c.b, newNamespaces(c.in.Spec)
	b.Call("start a session", unix.SYS_SETSID)
	for t, f := range c.in.Namespaces {
		c.host.Call("join the "+string(t)+" namespace", unix.SYS_SETNS, c.fd(f), program.Int(nsFlag(t)))
	}
	if late := fresh & lateNamespaces; late != 0 {
		b.Call("make the cgroup and time namespaces", unix.SYS_UNSHARE, program.Int(late))
	}
	if h := c.in.Spec.Hostname; h != "" && fresh&unix.CLONE_NEWUTS != 0 {
		b.Call("set the host name", unix.SYS_SETHOSTNAME, program.Str(h), program.Int(len(h)))
		if d := c.in.Spec.Domainname; d != "" {
			b.Call("set the domain name", unix.SYS_SETDOMAINNAME, program.Str(d), program.Int(len(d)))
		}
	}
	if fresh&unix.CLONE_NEWNET != 0 {
		c.loopbackUp()
	}
}

// loopbackUp raises lo in a new network namespace by the one ioctl it takes (netdevice(7)).
func (c *compiler) loopbackUp() {
	ifreq := make([]byte, 40)
	copy(ifreq, "lo")
	ifreq[16] = unix.IFF_UP | unix.IFF_RUNNING
	s := c.b.Call("open a socket for lo", unix.SYS_SOCKET, program.Int(unix.AF_INET), program.Int(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), program.Int(0)).Save()
	c.b.Call("raise lo", unix.SYS_IOCTL, program.Result(s), program.Int(unix.SIOCSIFFLAGS), program.Bytes(ifreq))
	c.b.Call("close", unix.SYS_CLOSE, program.Result(s)).Ignore()
}

func (c *compiler) openRoot() {
	b := c.b
	b.Call("make the mounts private", unix.SYS_MOUNT, program.Str(""), program.Str("/"), program.Int(0), program.Int(unix.MS_REC|c.rootPropagation()), program.Int(0))
	if c.in.UserNS != nil {
		c.takeMappedRoot()
		return
	}
	if c.in.RootTree != nil {
		c.takeRoot()
		return
	}
	if !c.in.RootfsMounted {
		tree := c.cloneTree("bind the rootfs", program.Int(int64(unix.AT_FDCWD)), c.in.Rootfs, true)
		b.Call("bind the rootfs", unix.SYS_MOVE_MOUNT, program.Result(tree), program.Str(""), program.Int(int64(unix.AT_FDCWD)), program.Str(c.in.Rootfs), program.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
	}
	c.root = b.Call("open the rootfs "+c.in.Rootfs, unix.SYS_OPENAT, program.Int(int64(unix.AT_FDCWD)), program.Str(c.in.Rootfs), program.Int(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)).Save()
}

// rootPropagation is private unless a mount wants to see the host's later mounts.
func (c *compiler) rootPropagation() int {
	for _, m := range c.in.Spec.Mounts {
		for _, o := range m.Options {
			if strings.HasSuffix(o, "slave") || strings.HasSuffix(o, "shared") {
				return unix.MS_SLAVE
			}
		}
	}
	return unix.MS_PRIVATE
}

// writeSysctls writes through the detached /proc, before any of it is read-only.
func (c *compiler) writeSysctls() {
	s := c.in.Spec
	for key, value := range s.Linux.Sysctl {
		path := "sys/" + strings.ReplaceAll(key, ".", "/")
		what := "set the sysctl " + key + "=" + value
		f := c.b.Call(what, unix.SYS_OPENAT2, program.Result(c.proc), program.Str(path), openHow(unix.O_WRONLY|unix.O_CLOEXEC, noLinks), program.Int(24)).Save()
		c.b.Call(what, unix.SYS_WRITE, program.Result(f), program.Str(value), program.Int(len(value)))
		c.b.Call("close", unix.SYS_CLOSE, program.Result(f)).Ignore()
	}
	if adj := s.Process.OOMScoreAdj; adj != nil {
		c.adjustOOMScore(itoa(*adj))
	}
}

// adjustOOMScore makes the container a likelier or less likely victim when
// memory runs out. Root of a user namespace has no right to: there the first
// child does it for itself and its heir, through the host's /proc.
func (c *compiler) adjustOOMScore(text string) {
	dir, path, resolve := program.Result(c.proc), "thread-self/oom_score_adj", uint64(unix.RESOLVE_BENEATH)
	if c.in.UserNS != nil {
		dir, path, resolve = program.Int(int64(unix.AT_FDCWD)), "/proc/thread-self/oom_score_adj", 0
	}
	c.asHost(func() {
		f := c.b.Call("open oom_score_adj", unix.SYS_OPENAT2, dir, program.Str(path), openHow(unix.O_WRONLY|unix.O_CLOEXEC, resolve), program.Int(24)).Save()
		c.b.Call("set oom_score_adj to "+text, unix.SYS_WRITE, program.Result(f), program.Str(text), program.Int(len(text)))
	})
}

func (c *compiler) pivot() {
	b := c.b
	if c.in.Spec.Root.Readonly {
		c.setAttr("make the rootfs read-only", c.root, unix.MOUNT_ATTR_RDONLY, 0, 0, false)
	}
	b.Call("enter the rootfs", unix.SYS_FCHDIR, program.Result(c.root))
	b.Call("pivot_root", unix.SYS_PIVOT_ROOT, program.Str("."), program.Str("."))
	// The old root is now mounted over the new one; it must not take host mounts with it.
	b.Call("detach the old root", unix.SYS_MOUNT, program.Str(""), program.Str("."), program.Int(0), program.Int(unix.MS_REC|unix.MS_SLAVE), program.Int(0))
	b.Call("detach the old root", unix.SYS_UMOUNT2, program.Str("."), program.Int(unix.MNT_DETACH))
	b.Call("enter the new root", unix.SYS_CHDIR, program.Str("/"))
}
