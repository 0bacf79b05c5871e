package bootstrap

import (
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// defaultDevices are the nodes every container has (OCI runtime specification, "Default Devices").
var defaultDevices = [...]struct {
	name         string
	major, minor uint32
}{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

// mountDev makes /dev in a detached tmpfs: the nodes are made below a handle
// that nothing in the image can reach (CVE-2026-41579), then it is attached.
func (c *compiler) mountDev(what string, o options) {
	b := c.b
	dev := c.newFS(what, "tmpfs", o.attrs, append([]string{"source=tmpfs"}, o.data...)...)
	inUserNS := c.in.UserNS != nil // a user's devices are bind mounts there, made by the caller
	for _, d := range defaultDevices {
		c.device(dev, d.name, unix.S_IFCHR|0o666, uint64(unix.Mkdev(d.major, d.minor)), inUserNS)
	}
	for _, l := range [...][2]string{{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"}, {"/proc/kcore", "core"}} {
		b.Call("make /dev/"+l[1], unix.SYS_SYMLINKAT, program.Str(l[0]), program.Result(dev), program.Str(l[1]))
	}
	for _, d := range [...]string{"pts", "shm", "mqueue"} {
		b.Call("make /dev/"+d, unix.SYS_MKDIRAT, program.Result(dev), program.Str(d), program.Int(0o755))
	}
	if !inUserNS {
		c.specDevices(dev)
	}
	at := c.systemTarget(what, "dev")
	c.attach(what, dev, at)
	if inUserNS {
		c.bindDevices(dev)
	}
	if c.in.HostInit != "" {
		c.bindInit(dev)
	}
}

// device makes one node, or in a user namespace, where mknod is refused, the file to bind the host's node on.
func (c *compiler) device(dev program.Reg, name string, mode, rdev uint64, placeholder bool) {
	if placeholder {
		mode, rdev = unix.S_IFREG|0o666, 0
	}
	c.b.Call("make /dev/"+name, unix.SYS_MKNODAT, program.Result(dev), program.Str(name), program.Int(mode), program.Int(rdev))
}

// specDevices makes the devices given by the user that stand below /dev.
func (c *compiler) specDevices(dev program.Reg) {
	for _, d := range c.in.Spec.Linux.Devices {
		name, ok := strings.CutPrefix(d.Path, "/dev/")
		if !ok {
			continue
		}
		what := "make " + d.Path
		parts := strings.Split(name, "/")
		for i := 1; i < len(parts); i++ {
			c.b.Call(what, unix.SYS_MKDIRAT, program.Result(dev), program.Str(strings.Join(parts[:i], "/")), program.Int(0o755)).Ignore()
		}
		mode := uint64(0o666)
		if d.FileMode != nil {
			mode = uint64(d.FileMode.Perm())
		}
		switch d.Type {
		case "b":
			mode |= unix.S_IFBLK
		case "p":
			mode |= unix.S_IFIFO
		default:
			mode |= unix.S_IFCHR
		}
		c.b.Call("replace "+d.Path, unix.SYS_UNLINKAT, program.Result(dev), program.Str(name), program.Int(0)).Ignore()
		c.b.Call(what, unix.SYS_MKNODAT, program.Result(dev), program.Str(name), program.Int(mode), program.Int(uint64(unix.Mkdev(uint32(d.Major), uint32(d.Minor)))))
		if d.UID != nil && d.GID != nil && (*d.UID != 0 || *d.GID != 0) {
			c.b.Call(what, unix.SYS_FCHOWNAT, program.Result(dev), program.Str(name), program.Int(*d.UID), program.Int(*d.GID), program.Int(unix.AT_SYMLINK_NOFOLLOW))
		}
	}
}

// bindDevices puts the host's nodes on the placeholders.
func (c *compiler) bindDevices(dev program.Reg) {
	for _, d := range defaultDevices {
		what := "bind /dev/" + d.name
		at := c.openIn(what, dev, d.name, unix.O_NOFOLLOW, noLinks).Save()
		c.attach(what, c.hostTree(what, "/dev/"+d.name, false), at)
	}
}

// bindInit shows berth's executable, read-only, as the container's PID 1 for --init.
func (c *compiler) bindInit(dev program.Reg) {
	const what = "bind the init program"
	c.b.Call(what, unix.SYS_MKNODAT, program.Result(dev), program.Str("init"), program.Int(unix.S_IFREG|0o755), program.Int(0))
	at := c.openIn(what, dev, "init", unix.O_NOFOLLOW, noLinks).Save()
	tree := c.hostTree(what, c.in.HostInit, false)
	c.setAttr(what, tree, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_NOEXEC, unix.MS_PRIVATE, false)
	c.attach(what, tree, at)
}
