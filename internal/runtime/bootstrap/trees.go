package bootstrap

import (
	"os"
	"sort"

	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// Detached mounts from outside. A mount that hangs in no directory tree
// (fsmount(2), open_tree(2)) can be handed to the child as a descriptor: no path
// of the host is resolved for it, nobody else ever sees it, and it is gone with
// its last user. Before Linux 6.15 such a mount can only be moved, not copied,
// and it can be moved once; what shows a part of one moves the whole to a place
// in the child's own mount namespace first, where parts can be copied on every kernel.

// Source is what a bind mount shows when it is not a path of the host.
type Source struct {
	Tree *os.File // a detached mount; the child takes it into its namespace
	Path string   // what of it to show, resolved inside it; "": the whole of it
	Dir  bool     // a directory, so that a missing target is made alike
}

// Staging are directories of the host that the child, and nobody else, sees
// covered: its own mount namespace needs a place for the mounts it was given.
type Staging struct{ Root, Trees string }

// takeRoot makes the detached mount RootTree the rootfs. pivot_root(2) wants it
// attached somewhere; from then on it is used by its descriptor.
func (c *compiler) takeRoot() {
	tree := c.fd(c.in.RootTree)
	c.moveTo("take the rootfs", tree, c.in.Staging.Root)
	c.root = c.duplicate("open the rootfs", tree)
}

// takeTrees attaches the mounts of which only parts are shown. They may cover
// each other: each is entered by its own descriptor.
func (c *compiler) takeTrees() {
	targets := make([]string, 0, len(c.in.Sources))
	for t := range c.in.Sources {
		targets = append(targets, t)
	}
	sort.Strings(targets) // one input, one program
	taken := map[*os.File]bool{}
	for _, t := range targets {
		if s := c.in.Sources[t]; s.Path != "" && !taken[s.Tree] {
			taken[s.Tree] = true
			c.moveTo("take the source of "+t, c.fd(s.Tree), c.in.Staging.Trees)
		}
	}
}

// fromTree returns a detached mount of what the source shows.
func (c *compiler) fromTree(what string, s Source) program.Reg {
	if s.Path == "" {
		return c.duplicate(what, c.fd(s.Tree))
	}
	at := c.b.Call(what+": open "+s.Path+" of its source", unix.SYS_OPENAT2, c.fd(s.Tree), program.Str(s.Path), openHow(unix.O_PATH|unix.O_CLOEXEC, inRoot), program.Int(24)).Save()
	return c.cloneTree(what, program.Result(at), "", false)
}

func (c *compiler) moveTo(what string, tree program.Arg, dir string) {
	c.b.Call(what, unix.SYS_MOVE_MOUNT, tree, program.Str(""), program.Int(int64(unix.AT_FDCWD)), program.Str(dir), program.Int(unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// duplicate brings a descriptor that was passed along into a register.
func (c *compiler) duplicate(what string, f program.Arg) program.Reg {
	return c.b.Call(what, unix.SYS_FCNTL, f, program.Int(unix.F_DUPFD_CLOEXEC), program.Int(3)).Save()
}
