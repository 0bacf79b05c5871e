package bootstrap

import (
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/program"
)

func itoa(i int) string { return strconv.Itoa(i) }

// mountProc mounts /proc first and detached: later steps write through it.
func (c *compiler) mountProc() {
	c.proc = c.newFS("mount /proc", "proc", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, "source=proc")
}

// mountAll makes the specification's mounts, parents before children.
func (c *compiler) mountAll() error {
	c.takeTrees()
	mounts := append([]specs.Mount(nil), c.in.Spec.Mounts...)
	sort.SliceStable(mounts, func(i, j int) bool { return depth(mounts[i].Destination) < depth(mounts[j].Destination) })
	for _, m := range mounts {
		if err := c.mount(m); err != nil {
			return errdefs.Wrap(err, "mount", m.Destination)
		}
	}
	return nil
}

func depth(p string) int { return strings.Count(path.Clean(p), "/") - b2i(path.Clean(p) == "/") }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (c *compiler) mount(m specs.Mount) error {
	o, err := parseOptions(m.Options)
	if err != nil {
		return err
	}
	dest := path.Clean("/" + m.Destination)
	if dest == "/" {
		return errdefs.New(errdefs.InvalidArgument, "the target may not be /")
	}
	what := "mount " + dest
	switch {
	case m.Type == "proc" && dest == "/proc":
		c.attach(what, c.proc, c.systemTarget(what, "proc"))
		return nil
	case m.Type == "tmpfs" && dest == "/dev":
		c.mountDev(what, o)
		return nil
	case m.Type == "sysfs" && dest == "/sys":
		c.attach(what, c.newFSOf(specs.NetworkNamespace, what, "sysfs", o.attrs, "source=sysfs"), c.systemTarget(what, "sys"))
		return nil
	case m.Type == "cgroup":
		c.mountCgroup(what, o)
		return nil
	case m.Type == "bind" || o.bind:
		c.bind(what, m.Source, dest, o)
		return nil
	}
	data := o.data
	if m.Source != "" { // what df(1) and mount(8) show in the first column
		data = append([]string{"source=" + m.Source}, data...)
	}
	of := specs.MountNamespace // belongs to no other
	if m.Type == "mqueue" {
		of = specs.IPCNamespace
	}
	t := c.newFSOf(of, what, m.Type, o.attrs, data...)
	if m.Type == "tmpfs" && o.copyUp {
		return errdefs.New(errdefs.Unsupported, "tmpcopyup")
	}
	c.attach(what, t, c.target(what, dest, true))
	return nil
}

// systemTarget opens one of the directories that must be real: /proc, /dev, /sys.
func (c *compiler) systemTarget(what, name string) program.Reg {
	c.b.Call(what+": make the directory", unix.SYS_MKDIRAT, program.Result(c.root), program.Str(name), program.Int(0o755)).Ignore()
	return c.openIn(what+": the rootfs has a symbolic link or file at /"+name, c.root, name, unix.O_DIRECTORY, noLinks).Save()
}

// target opens a mount's target in the rootfs and makes what is missing of it,
// component by component, each inside the handle of the one before.
func (c *compiler) target(what, dest string, dir bool) program.Reg {
	rel := dest[1:]
	parts := strings.Split(rel, "/")
	steps := 2*(len(parts)-1) + 2
	opened := c.openIn(what, c.root, rel, 0, inRoot).ThenSkip(steps)
	opened.Ignore()
	r := opened.Save()
	at := c.root
	for i := range parts[:len(parts)-1] {
		c.b.Call(what+": make the target", unix.SYS_MKDIRAT, program.Result(at), program.Str(parts[i]), program.Int(0o755)).Tolerate(unix.EEXIST, unix.EROFS)
		s := c.openIn(what+": open the target", c.root, strings.Join(parts[:i+1], "/"), unix.O_DIRECTORY, inRoot)
		s.SaveIn(r)
		at = r
	}
	last := parts[len(parts)-1]
	if dir {
		c.b.Call(what+": make the target", unix.SYS_MKDIRAT, program.Result(at), program.Str(last), program.Int(0o755)).Tolerate(unix.EEXIST)
	} else {
		c.b.Call(what+": make the target", unix.SYS_MKNODAT, program.Result(at), program.Str(last), program.Int(unix.S_IFREG|0o755), program.Int(0)).Tolerate(unix.EEXIST)
	}
	c.openIn(what+": open the target", c.root, rel, 0, inRoot).SaveIn(r)
	return r
}

// bind makes a bind mount. The clone is adjusted before it is attached, so it
// is never visible with more rights than asked.
func (c *compiler) bind(what, source, dest string, o options) {
	tree, dir := c.bindSource(what, source, dest, o)
	// What lies inside the clone follows the first flags; read-only is made
	// recursive too, as a read-only volume with a writable hole is not read-only.
	c.setAttr(what+": set its flags", tree, uint64(o.attrs), uint64(o.clear), o.propagation, !o.nonRecursive)
	c.attach(what, tree, c.target(what, dest, dir))
	c.b.Call("close", unix.SYS_CLOSE, program.Result(tree)).Ignore()
}

// bindSource returns a detached mount of what a bind shows, and whether that is a directory.
func (c *compiler) bindSource(what, source, dest string, o options) (tree program.Reg, dir bool) {
	if s, ok := c.in.Sources[dest]; ok {
		return c.fromTree(what, s), s.Dir
	}
	return c.hostTree(what+" from "+source, source, !o.nonRecursive), c.in.IsDir(source)
}

// mountCgroup shows the container its own cgroups. On v1 each hierarchy is a
// bind of the container's directory inside a small tmpfs; cgroup2 is mounted
// whole, and the cgroup namespace makes the container's cgroup its root.
func (c *compiler) mountCgroup(what string, o options) {
	if len(c.in.CgroupBinds) == 0 {
		c.attach(what, c.newFSOf(specs.CgroupNamespace, what, "cgroup2", o.attrs), c.target(what, "/sys/fs/cgroup", true))
		return
	}
	dir := c.newFS(what, "tmpfs", o.attrs&^unix.MOUNT_ATTR_RDONLY, "source=cgroup", "mode=755")
	c.attach(what, dir, c.target(what, "/sys/fs/cgroup", true))
	for _, g := range c.in.CgroupBinds {
		w := what + "/" + g.Name
		c.b.Call(w, unix.SYS_MKDIRAT, program.Result(dir), program.Str(g.Name), program.Int(0o755))
		at := c.openIn(w, dir, g.Name, unix.O_DIRECTORY, noLinks).Save()
		tree := c.hostTree(w, g.Source, false)
		c.setAttr(w, tree, uint64(o.attrs), 0, unix.MS_PRIVATE, false)
		c.attach(w, tree, at)
		for _, link := range g.Links {
			c.b.Call(w, unix.SYS_SYMLINKAT, program.Str(g.Name), program.Result(dir), program.Str(link)).Ignore()
		}
	}
	if o.attrs&unix.MOUNT_ATTR_RDONLY != 0 {
		c.setAttr(what+": read-only", dir, unix.MOUNT_ATTR_RDONLY, 0, 0, false)
	}
}

// maskPaths hides and protects parts of /proc and /sys. Every path is opened
// below the mounts made above, never through the rootfs (CVE-2025-31133).
func (c *compiler) maskPaths() {
	l := c.in.Spec.Linux
	for _, p := range l.MaskedPaths {
		c.mask(p)
	}
	for _, p := range l.ReadonlyPaths {
		what := "make " + p + " read-only"
		// tree, set flags, open target, attach: skipped together if the path does not exist.
		t := c.b.Call(what, unix.SYS_OPEN_TREE, program.Result(c.root), program.Str(p[1:]), program.Int(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW))
		t.SkipOn(3, unix.ENOENT, unix.ENOTDIR)
		tree := t.Save()
		c.setAttr(what, tree, unix.MOUNT_ATTR_RDONLY, 0, unix.MS_PRIVATE, true)
		at := c.openIn(what, c.root, p[1:], unix.O_NOFOLLOW, noLinks).Save()
		c.attach(what, tree, at)
	}
}

// mask covers a directory by an empty read-only tmpfs, and anything else by the
// null device. (A clone of one tmpfs for all would be cheaper, but kernels
// before 6.15 do not clone a mount that is attached nowhere.)
func (c *compiler) mask(p string) {
	what := "mask " + p
	open := c.openIn(what, c.root, p[1:], unix.O_NOFOLLOW, noLinks)
	from := c.b.Len()
	at := open.Save()
	var tree program.Reg
	if c.in.IsDir(p) {
		tree = c.newFS(what, "tmpfs", unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC, "size=0", "nr_inodes=2")
	} else {
		// The host's null device: still in reach before pivot_root, and never the image's.
		tree = c.hostTree(what, "/dev/null", false)
	}
	c.attach(what, tree, at)
	open.SkipOn(c.b.Len()-from, unix.ENOENT, unix.ENOTDIR) // the kernel has no such file
}
