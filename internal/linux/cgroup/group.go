package cgroup

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// Group is one group, the same path in every hierarchy. It holds no descriptor;
// the directories may be gone.
type Group struct {
	host *Host
	// Name is the path below each hierarchy's root, as in "/docker/<id>".
	Name string
	// Warnings are the limits that Create had to leave out, in words.
	Warnings []string
}

// Open returns the group at a path, whether it exists or not.
func (h *Host) Open(name string) *Group {
	return &Group{host: h, Name: cleanName(name)}
}

// OfProcess returns the group of a container by one of its processes: the path
// in /proc/<pid>/cgroup up to the part that has the container's id in it. (An
// init system inside may have moved the process to a group below.) It is right
// whatever --cgroup-parent was, and for a scope of systemd too.
func (h *Host) OfProcess(pid int, id string) (*Group, error) {
	var buf [1024]byte
	file := "/proc/" + strconv.Itoa(pid) + "/cgroup"
	text, err := read(file, buf[:0])
	if err != nil {
		return nil, err
	}
	if name, ok := groupWith(string(text), id); ok {
		return h.Open(name), nil
	}
	return nil, errdefs.New(errdefs.NotFound, "%s names no group of container %s", file, id)
}

// groupWith finds the id in lines "5:memory:/docker/<id>/below" and cuts after its part.
func groupWith(text, id string) (string, bool) {
	if id == "" {
		return "", false
	}
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 3 {
			continue
		}
		name := fields[2]
		i := strings.Index(name, id)
		if i < 0 || name[0] != '/' {
			continue
		}
		if end := strings.IndexByte(name[i:], '/'); end >= 0 {
			name = name[:i+end]
		}
		return name, true
	}
	return "", false
}

// cleanName makes a path absolute and free of "..": a group's path comes from
// --cgroup-parent, and must not lead out of the cgroup file system.
func cleanName(name string) string {
	if name == "" || name[0] != '/' || strings.Contains(name, "//") || strings.Contains(name, "/.") || strings.HasSuffix(name, "/") {
		return path.Clean("/" + name)
	}
	return name
}

// Create makes a new group with these limits, and its parents if need be. A
// group of that name without processes is what an earlier run left: it is
// removed first, so that its counters do not count for the new one.
func (h *Host) Create(name string, l Limits) (*Group, error) {
	g := h.Open(name)
	if g.Name == "/" {
		return nil, errdefs.New(errdefs.InvalidArgument, "cannot create cgroup /: it is the root")
	}
	l, warnings, err := h.Check(path.Dir(g.Name), l)
	if err != nil {
		return nil, err
	}
	g.Warnings = warnings
	made := 0
	if err := g.create(&l, &made); err != nil {
		for i := range made { // still empty and without children
			_ = unix.Rmdir(h.trees[i].dir + g.Name)
		}
		return nil, errdefs.Wrap(err, "create", "cgroup "+g.Name)
	}
	return g, nil
}

// create makes the directories, counting them in made, and sets the limits.
func (g *Group) create(l *Limits, made *int) error {
	for i := range g.host.trees {
		t := &g.host.trees[i]
		err := g.host.makeGroup(t, g.Name)
		if err == unix.EEXIST {
			err = g.replace(t)
		}
		if err != nil {
			return explainMkdir(t.dir+g.Name, err)
		}
		*made = i + 1
		if t.has("cpuset") {
			if err := copyCpuset(t.dir, g.Name, l.CpusetCpus == "", l.CpusetMems == ""); err != nil {
				return err
			}
		}
	}
	var notEnabled error
	if g.host.Version == V2 && !g.host.enabled(g.Name) {
		notEnabled = g.host.enable(path.Dir(g.Name))
	}
	if err := g.apply(l, true); err != nil {
		if notEnabled != nil && errors.Is(err, unix.ENOENT) {
			return notEnabled
		}
		return err
	}
	return nil
}

// makeGroup makes the directory of a group in one hierarchy, and its parents
// only when the kernel says that they are missing.
func (h *Host) makeGroup(t *hierarchy, name string) error {
	err := mkdir(t.dir + name)
	if err != unix.ENOENT {
		return err
	}
	if parent := path.Dir(name); parent != "/" {
		if err := h.makeGroup(t, parent); err != nil && err != unix.EEXIST {
			return err
		} else if err == nil {
			h.prepareParent(t, parent)
		}
	}
	return mkdir(t.dir + name)
}

// prepareParent sets what the groups below a new parent are to inherit. Nothing
// depends on it: kernels without these files behave so by themselves.
func (h *Host) prepareParent(t *hierarchy, name string) {
	dir := t.dir + name
	switch {
	case t.has("cpuset"): // new groups start with the parent's CPUs, not with none
		_ = copyCpuset(t.dir, name, true, true)
		_ = write(dir+"/cgroup.clone_children", "1")
	case t.has("memory"): // before Linux 5.11 a limit did not hold for the groups below
		_ = write(dir+"/memory.use_hierarchy", "1")
	}
}

// copyCpuset gives a v1 cpuset its parent's CPUs and memory nodes where it has
// none: a process cannot join a cpuset that lacks either (ENOSPC).
func copyCpuset(root, name string, cpus, mems bool) error {
	if name == "/" {
		return nil
	}
	for _, one := range [...]struct {
		file string
		copy bool
	}{{"/cpuset.mems", mems}, {"/cpuset.cpus", cpus}} {
		if !one.copy {
			continue
		}
		var buf [256]byte
		own, err := read(root+name+one.file, buf[:0])
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(own)) != "" {
			if cpus && mems {
				return nil // cgroup.clone_children of the parent filled both
			}
			continue
		}
		parent := path.Dir(name)
		if err := copyCpuset(root, parent, true, true); err != nil {
			return err
		}
		if parent == "/" {
			parent = ""
		}
		value, err := read(root+parent+one.file, buf[:0])
		if err != nil {
			return err
		}
		if err := write(root+name+one.file, strings.TrimSpace(string(value))); err != nil {
			return err
		}
	}
	return nil
}

// replace removes a group that an earlier run left behind and makes it anew.
func (g *Group) replace(t *hierarchy) error {
	dir := t.dir + g.Name
	if pids, err := pidsBelow(dir, nil); err == nil && len(pids) > 0 {
		return unix.EBUSY
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := removeTree(ctx, dir); err != nil {
		return unix.EBUSY
	}
	return mkdir(dir)
}

// explainMkdir says what the user can do about a directory that cannot be made.
func explainMkdir(dir string, err error) error {
	e := &errdefs.Error{Kind: errdefs.Internal, Err: pathError("mkdir", dir, err)}
	switch err {
	case unix.EROFS:
		e.Kind = errdefs.Forbidden
		return e.WithHint("the cgroup file system is mounted read-only; inside a container, run that one with --privileged")
	case unix.EACCES, unix.EPERM:
		e.Kind = errdefs.Forbidden
		return e.WithHint("run as root, or in a systemd unit with Delegate=yes")
	case unix.EBUSY:
		e.Kind = errdefs.Conflict
		return e.WithHint("a group of that name still has processes: see %s/cgroup.procs", dir)
	case unix.EAGAIN:
		e.Kind = errdefs.Exhausted
		return e.WithHint("a limit of groups is reached: see cgroup.max.descendants above %s", dir)
	}
	return e
}

// Path returns the group's directory in the hierarchy of a v1 controller
// ("memory", "systemd"), "" if there is none. On v2 the controller does not
// matter. "unified" names the v2 tree of a hybrid host.
func (g *Group) Path(controller string) string {
	t := g.host.tree(controller)
	if controller == "unified" {
		t = g.host.v2()
	}
	if t == nil {
		return ""
	}
	return t.dir + g.Name
}

// Paths returns the group's directories in all hierarchies.
func (g *Group) Paths() []string {
	all := make([]string, len(g.host.trees))
	for i := range g.host.trees {
		all[i] = g.host.trees[i].dir + g.Name
	}
	return all
}

// JoinFiles returns the files into each of which a process of one thread writes
// "0" to join the group. bornInV2 leaves out the v2 tree, for a child that
// clone3 puts there (see OpenV2): writing its file costs milliseconds.
func (g *Group) JoinFiles(bornInV2 bool) []string {
	files := make([]string, 0, len(g.host.trees))
	for i := range g.host.trees {
		switch t := &g.host.trees[i]; {
		case t.name != "":
			files = append(files, t.dir+g.Name+"/tasks")
		case !bornInV2:
			files = append(files, t.dir+g.Name+"/cgroup.procs")
		}
	}
	return files
}

// AddProcess moves a whole process, with all its threads, into the group. It is
// the slow way, for a process that runs already.
func (g *Group) AddProcess(pid int) error {
	for i := range g.host.trees {
		if err := write(g.host.trees[i].dir+g.Name+"/cgroup.procs", strconv.Itoa(pid)); err != nil {
			return errdefs.Wrap(err, "join", "cgroup "+g.Name)
		}
	}
	return nil
}

// OpenV2 opens the group's directory in the v2 tree for CLONE_INTO_CGROUP. It
// returns nil where there is no v2 tree. The caller closes it.
func (g *Group) OpenV2() (*os.File, error) {
	t := g.host.v2()
	if t == nil {
		return nil, nil
	}
	dir := t.dir + g.Name
	fd, err := openRetry(unix.AT_FDCWD, dir, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// Exists reports whether the group is there in any hierarchy.
func (g *Group) Exists() bool {
	for i := range g.host.trees {
		if exists(g.host.trees[i].dir + g.Name) {
			return true
		}
	}
	return false
}
