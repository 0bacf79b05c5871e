package bootstrap

import (
	"encoding/binary"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/program"
)

// becomeProcess turns the child into the program: the rights go in the order in
// which nothing needs them any more.
func (c *compiler) becomeProcess(p *specs.Process) error {
	b := c.b
	if !c.joins { // only a container's own directory is made, not one that an exec asks for
		c.makeWorkingDir(p)
	}
	if err := c.limits(p.Rlimits); err != nil {
		return err
	}
	// A session keyring of its own, so that the host's keys are out of reach (keyrings(7)).
	b.Call("make a session keyring", unix.SYS_KEYCTL, program.Int(unix.KEYCTL_JOIN_SESSION_KEYRING), program.Int(0)).Ignore()
	// Without no_new_privs only a process with CAP_SYS_ADMIN may install a
	// filter (seccomp(2)): install it before the capabilities go.
	if !p.NoNewPrivileges {
		c.installFilter()
	}
	c.dropBounding()
	c.becomeUser(p)
	if p.NoNewPrivileges {
		b.Call("set no_new_privs", unix.SYS_PRCTL, program.Int(unix.PR_SET_NO_NEW_PRIVS), program.Int(1), program.Int(0), program.Int(0), program.Int(0))
		c.installFilter()
	}
	umask := uint32(0o022)
	if p.User.Umask != nil {
		umask = *p.User.Umask
	}
	b.Call("set the umask", unix.SYS_UMASK, program.Int(umask))
	b.Call("close all descriptors", unix.SYS_CLOSE_RANGE, program.Int(3), program.Int(uint64(^uint32(0))), program.Int(0))
	c.enterWorkingDir(p.Cwd)
	return c.exec(p)
}

// resource numbers of setrlimit(2).
func resource(name string) (int, bool) {
	for i, n := range [...]string{"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME"} {
		if name == "RLIMIT_"+n {
			return i, true
		}
	}
	return 0, false
}

func (c *compiler) limits(list []specs.POSIXRlimit) error {
	for _, l := range list {
		n, ok := resource(l.Type)
		if !ok {
			return errdefs.New(errdefs.InvalidArgument, "unknown resource limit %s", l.Type)
		}
		if c.in.UserNS != nil {
			c.raiseLimit(n, l)
		}
		c.setLimit("set the limit "+l.Type, n, l.Soft, l.Hard)
	}
	return nil
}

func (c *compiler) setLimit(what string, resource int, soft, hard uint64) program.Step {
	v := make([]byte, 16)
	binary.NativeEndian.PutUint64(v, soft)
	binary.NativeEndian.PutUint64(v[8:], hard)
	return c.b.Call(what, unix.SYS_PRLIMIT64, program.Int(0), program.Int(resource), program.Bytes(v), program.Int(0))
}

func (c *compiler) installFilter() {
	if len(c.in.Seccomp) == 0 {
		return
	}
	filter := c.b.Place(c.in.Seccomp)
	prog := c.b.Place(make([]byte, 16)) // struct sock_fprog: length and address
	c.b.Patch(prog, uint64(len(c.in.Seccomp)/8))
	c.b.Point(prog+8, filter)
	c.b.Call("install the seccomp filter", unix.SYS_SECCOMP, program.Int(unix.SECCOMP_SET_MODE_FILTER), program.Int(0), program.At(prog))
}

// lastCap is the newest capability this code knows (CAP_CHECKPOINT_RESTORE, Linux 5.9).
const lastCap = unix.CAP_CHECKPOINT_RESTORE

func (c *compiler) dropBounding() {
	for n := 0; n <= lastCap; n++ {
		if c.in.Bounding&(1<<n) == 0 {
			c.b.Call("drop a capability", unix.SYS_PRCTL, program.Int(unix.PR_CAPBSET_DROP), program.Int(n), program.Int(0), program.Int(0), program.Int(0)).Tolerate(unix.EINVAL)
		}
	}
}

// becomeUser sets groups, ids and capability sets. The inheritable set is empty
// (CVE-2022-24769); a user other than root starts without capabilities.
func (c *compiler) becomeUser(p *specs.Process) {
	b := c.b
	groups := make([]byte, 4*len(p.User.AdditionalGids))
	for i, g := range p.User.AdditionalGids {
		binary.NativeEndian.PutUint32(groups[4*i:], g)
	}
	if len(groups) == 0 {
		groups = make([]byte, 4)
	}
	b.Call("set the groups", unix.SYS_SETGROUPS, program.Int(len(p.User.AdditionalGids)), program.Bytes(groups))
	b.Call("set the group id", unix.SYS_SETRESGID, program.Int(p.User.GID), program.Int(p.User.GID), program.Int(p.User.GID))
	effective := c.in.Effective & c.in.Bounding
	if p.User.UID != 0 {
		effective = 0
	}
	b.Call("set the user id", unix.SYS_SETRESUID, program.Int(p.User.UID), program.Int(p.User.UID), program.Int(p.User.UID))
	header := make([]byte, 8)
	binary.NativeEndian.PutUint32(header, unix.LINUX_CAPABILITY_VERSION_3)
	data := make([]byte, 24) // two of effective, permitted, inheritable
	for half := range 2 {
		bits := uint32(effective >> (32 * half))
		binary.NativeEndian.PutUint32(data[12*half:], bits)
		binary.NativeEndian.PutUint32(data[12*half+4:], bits)
	}
	b.Call("set the capabilities", unix.SYS_CAPSET, program.At(b.Place(header)), program.Bytes(data))
}

// makeWorkingDir makes a missing working directory, as Docker does, while the
// child is still root. It works inside the new root: no link can lead out.
func (c *compiler) makeWorkingDir(p *specs.Process) {
	parts := strings.Split(strings.Trim(path.Clean("/"+p.Cwd), "/"), "/")
	if parts[0] == "" {
		return
	}
	here := program.Int(int64(unix.AT_FDCWD))
	look := c.b.Call("look for the working directory", unix.SYS_FACCESSAT, here, program.Str(p.Cwd), program.Int(0))
	from := c.b.Len()
	for i := range parts {
		dir := program.Str("/" + strings.Join(parts[:i+1], "/"))
		made := c.b.Call("make the working directory", unix.SYS_MKDIRAT, here, dir, program.Int(0o755))
		if !c.in.OwnWorkingDir {
			made.Ignore()
			continue
		}
		made.OrSkip(1)
		c.b.Call("give away the working directory", unix.SYS_FCHOWNAT, here, dir, program.Int(p.User.UID), program.Int(p.User.GID), program.Int(unix.AT_SYMLINK_NOFOLLOW))
	}
	look.ThenSkip(c.b.Len() - from).Ignore()
}

// enterWorkingDir enters the working directory and checks with getcwd(2) that
// it lies below the root: a directory reached through a leaked descriptor
// reads "(unreachable)/...".
func (c *compiler) enterWorkingDir(cwd string) {
	if cwd == "" {
		cwd = "/"
	}
	c.b.Call("enter the working directory "+cwd, unix.SYS_CHDIR, program.Str(cwd))
	at := c.b.Place(make([]byte, unix.PathMax))
	c.b.Call("read the working directory", unix.SYS_GETCWD, program.At(at), program.Int(unix.PathMax))
	c.b.Expect("enter the working directory "+cwd+": it lies outside the container's root", at, '/', unix.EXDEV)
}

// exec becomes the program. A name without a slash is looked for in the
// container's own PATH by trying, as execvp(3) does.
func (c *compiler) exec(p *specs.Process) error {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return errdefs.New(errdefs.InvalidArgument, "no command specified")
	}
	name := p.Args[0]
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = candidates[:0]
		for _, dir := range strings.Split(searchPath(p.Env), ":") {
			candidates = append(candidates, path.Join("/", dir, name))
		}
	}
	if c.in.HostInit != "" {
		candidates = []string{InitPath}
	}
	argv, env := program.At(c.b.Vector(c.argv(p))), program.At(c.b.Vector(p.Env))
	for _, file := range candidates {
		c.b.Call("exec "+file, unix.SYS_EXECVE, program.Str(file), argv, env).OrNext()
	}
	c.b.Fail(ExecStep, unix.ENOENT)
	return nil
}

// ExecStep is what the program's last step says; an error there is the user's command, not the engine.
const ExecStep = "exec"

func (c *compiler) argv(p *specs.Process) []string {
	if c.in.HostInit == "" {
		return p.Args
	}
	return append([]string{InitArg, "--"}, p.Args...)
}

// InitArg is argv[0] of --init's program: berth's executable acts as an init by this name.
const InitArg = "berth-init"

func searchPath(env []string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(env[i], "PATH="); ok {
			return v
		}
	}
	return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}
