package bootstrap

import (
	"math"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// A container in a user namespace is started by two children. The first is the
// host's root and does what takes that: it copies the mounts that the container
// is shown, whose paths nobody else may walk, raises limits, and joins the
// namespaces that are shared. Then it joins the user namespace and clones the
// second, whose new namespaces thereby belong to the user namespace; and that one
// goes on as any container's child does, with root's power over what is its own.

// asHost adds steps to what is done as the host's root.
func (c *compiler) asHost(steps func()) {
	body := c.b
	c.b = c.host
	steps()
	c.b = body
}

// hostTree makes a detached copy of the mount at a path of the host, and of those
// below it if recursive.
func (c *compiler) hostTree(what, path string, recursive bool) (tree program.Reg) {
	c.asHost(func() {
		tree = c.cloneTree(what, program.Int(int64(unix.AT_FDCWD)), path, recursive)
		if c.in.UserNS != nil { // the copy of a mount of the host's own namespace, which is not private as ours are
			c.setAttr(what, tree, 0, 0, uint64(c.rootPropagation()), true)
		}
	})
	return tree
}

// newFSOf is newFS for a file system that shows what is in a namespace of type t:
// only its owner may mount it. With a user namespace, that is the container's
// root if the namespace is new, and the host's if it is shared.
func (c *compiler) newFSOf(t specs.LinuxNamespaceType, what, fstype string, attrs int, options ...string) (mount program.Reg) {
	if c.in.UserNS == nil || newNamespaces(c.in.Spec)&nsFlag(t) != 0 {
		return c.newFS(what, fstype, attrs, options...)
	}
	c.asHost(func() { mount = c.newFS(what, fstype, attrs, options...) })
	return mount
}

// takeMappedRoot makes a copy of the rootfs, or RootTree, the container's root. It
// is put over "/", the one directory that is sure to be in reach: pivot_root(2)
// wants it attached somewhere, and absolute paths begin below it, at the host's
// root, as before.
func (c *compiler) takeMappedRoot() {
	const what = "take the rootfs"
	if c.in.RootTree == nil {
		c.root = c.hostTree(what, c.in.Rootfs, false)
	} else {
		c.asHost(func() {
			c.root = c.duplicate(what, c.fd(c.in.RootTree))
			c.setAttr(what, c.root, 0, 0, uint64(c.rootPropagation()), true)
		})
	}
	c.moveTo(what, program.Result(c.root), "/")
}

// raiseLimit makes room for a limit: only the host's root may raise one, and set
// to less it could keep the start itself from being finished. It does not matter
// if it fails: the setting of the limit follows, and says so.
func (c *compiler) raiseLimit(resource int, l specs.POSIXRlimit) {
	enough := uint64(math.MaxUint64) // RLIM_INFINITY
	if resource == unix.RLIMIT_NOFILE {
		enough = max(l.Hard, 1024) // fs.nr_open bounds it
	}
	c.asHost(func() { c.setLimit("raise the limit "+l.Type, resource, enough, enough).Ignore() })
}

// enterUserNamespace ends what is done as the host's root and joins the two parts.
func (c *compiler) enterUserNamespace() {
	fresh := newNamespaces(c.in.Spec) &^ lateNamespaces
	c.asHost(func() {
		c.hideFromPtrace()
		c.b.Call("join the user namespace", unix.SYS_SETNS, c.fd(c.in.UserNS), program.Int(unix.CLONE_NEWUSER))
		c.becomeMappedRoot()
		c.b.Clone("make the container's first process", fresh)
	})
	c.host.Append(c.b)
}

// hideFromPtrace keeps the engine's memory, which the child shares, from being
// read from inside the container between the joining and execve (CVE-2016-9962).
func (c *compiler) hideFromPtrace() {
	c.b.Call("hide from ptrace", unix.SYS_PRCTL, program.Int(unix.PR_SET_DUMPABLE), program.Int(0), program.Int(0), program.Int(0), program.Int(0))
}

// becomeMappedRoot takes the ids that are 0 in the user namespace just joined;
// the ones from outside have no meaning there.
func (c *compiler) becomeMappedRoot() {
	c.b.Call("become root of the user namespace", unix.SYS_SETRESGID, program.Int(0), program.Int(0), program.Int(0))
	c.b.Call("become root of the user namespace", unix.SYS_SETRESUID, program.Int(0), program.Int(0), program.Int(0))
}
