package cgroup

import (
	"errors"
	"os"
	"slices"
	"strings"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// Version says which generation of control groups the host runs.
type Version int

const (
	// V1 has hierarchies of the first generation only.
	V1 Version = iota + 1
	// Hybrid is V1 and, beside it, the v2 tree without the main controllers.
	Hybrid
	// V2 has the one tree of the second generation.
	V2
)

// String returns "v1", "hybrid" or "v2".
func (v Version) String() string {
	switch v {
	case V1:
		return "v1"
	case Hybrid:
		return "hybrid"
	case V2:
		return "v2"
	}
	return "unknown"
}

// DefaultParent is the group that holds containers unless --cgroup-parent names another.
const DefaultParent = "/docker"

// defaultRoot is where every distribution mounts the cgroup file systems.
const defaultRoot = "/sys/fs/cgroup"

// hierarchy is one mounted cgroup file system.
type hierarchy struct {
	dir  string // its root, as in /sys/fs/cgroup/memory
	name string // "memory", "cpu,cpuacct", "systemd"; "" for the v2 tree
}

// has reports whether the hierarchy carries a controller.
func (h *hierarchy) has(controller string) bool {
	rest := h.name
	for rest != "" {
		var one string
		one, rest, _ = strings.Cut(rest, ",")
		if one == controller {
			return true
		}
	}
	return false
}

// Host is the set of hierarchies that this machine has mounted.
type Host struct {
	Version Version
	// trees has the v1 hierarchies first and the v2 tree, if there is one, last.
	trees []hierarchy
}

// Detect finds the mounted hierarchies. It looks at the file system types below
// /sys/fs/cgroup, which costs some ten system calls; only when there is nothing
// it reads the mount table, which may have thousands of lines.
func Detect() (*Host, error) {
	h, err := detectAt(defaultRoot)
	if err == nil && len(h.trees) > 0 {
		return h, nil
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, errdefs.Wrap(err, "find", "the cgroup file systems")
	}
	if h = fromMountinfo(string(table)); len(h.trees) > 0 {
		return h, nil
	}
	return nil, (&errdefs.Error{Kind: errdefs.Unsupported, Op: "find", Subject: "the cgroup file systems",
		Err: errors.New("none is mounted")}).WithHint("mount -t cgroup2 none %s", defaultRoot)
}

// detectAt looks at root and the directories in it.
func detectAt(root string) (*Host, error) {
	if magic, err := fsType(root); err != nil {
		return nil, err
	} else if magic == unix.CGROUP2_SUPER_MAGIC {
		return newHost([]hierarchy{{dir: root}}), nil
	}
	fd, err := openRetry(unix.AT_FDCWD, root, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, pathError("open", root, err)
	}
	names, err := subdirs(fd) // "cpu" is often a symbolic link to "cpu,cpuacct": links do not appear here
	unix.Close(fd)
	if err != nil {
		return nil, pathError("list", root, err)
	}
	trees := make([]hierarchy, 0, len(names))
	v2 := ""
	for _, name := range names {
		dir := root + "/" + name
		magic, err := fsType(dir)
		switch {
		case err != nil:
		case magic == unix.CGROUP_SUPER_MAGIC:
			trees = append(trees, hierarchy{dir, name})
		case magic == unix.CGROUP2_SUPER_MAGIC:
			v2 = dir
		}
	}
	if v2 != "" {
		trees = append(trees, hierarchy{dir: v2})
	}
	return newHost(trees), nil
}

// newHost returns the host of these hierarchies, the v2 tree last.
func newHost(trees []hierarchy) *Host {
	h := &Host{Version: V1, trees: trees}
	if n := len(trees); n > 0 && trees[n-1].name == "" {
		h.Version = Hybrid
		if n == 1 {
			h.Version = V2
		}
	}
	return h
}

// fsType returns the magic number of the file system at path.
func fsType(path string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == nil {
			return int64(st.Type), nil
		}
		if err != unix.EINTR {
			return 0, pathError("statfs", path, err)
		}
	}
}

// fromMountinfo finds the hierarchies in a mount table (proc_pid_mountinfo(5)):
//
//	36 35 0:30 / /cgroup/mem rw,relatime shared:9 - cgroup cgroup rw,memory
//
// A hierarchy that is mounted twice counts once.
func fromMountinfo(table string) *Host {
	var trees []hierarchy
	var seen []string
	v2 := ""
	for line := range strings.Lines(table) {
		before, after, ok := strings.Cut(line, " - ")
		if !ok {
			continue
		}
		mount, super := strings.Fields(before), strings.Fields(after)
		if len(mount) < 5 || len(super) < 3 {
			continue
		}
		dir := unescape(mount[4])
		switch super[0] {
		case "cgroup2":
			if v2 == "" {
				v2 = dir
			}
		case "cgroup":
			name := v1Name(super[2])
			if name == "" || slices.Contains(seen, mount[2]) {
				continue
			}
			seen = append(seen, mount[2])
			trees = append(trees, hierarchy{dir, name})
		}
	}
	if v2 != "" {
		trees = append(trees, hierarchy{dir: v2})
	}
	return newHost(trees)
}

// v1Name returns the controllers, or the bare name, in the options of a v1 mount.
func v1Name(options string) string {
	name := ""
	for option := range strings.SplitSeq(options, ",") {
		switch {
		case option == "rw" || option == "ro" || option == "none" || option == "xattr" || option == "noprefix" ||
			option == "clone_children" || option == "favordynmods" || option == "cpuset_v2_mode" ||
			strings.HasPrefix(option, "release_agent="):
		case strings.HasPrefix(option, "name="):
			if name == "" {
				name = option[len("name="):]
			}
		case name == "":
			name = option
		default:
			name += "," + option
		}
	}
	return name
}

// unescape resolves the octal escapes (\040 for a blank) of the mount table.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && octal(s[i+1]) && octal(s[i+2]) && octal(s[i+3]) {
			out = append(out, (s[i+1]-'0')<<6|(s[i+2]-'0')<<3|(s[i+3]-'0'))
			i += 3
			continue
		}
		out = append(out, s[i])
	}
	return string(out)
}

func octal(c byte) bool { return '0' <= c && c <= '7' }

// tree returns the hierarchy that carries a controller ("memory"; "systemd" for
// the named hierarchy), or nil. On v2 it is always the one tree.
func (h *Host) tree(controller string) *hierarchy {
	if h.Version == V2 {
		return &h.trees[0]
	}
	for i := range h.trees {
		if h.trees[i].has(controller) {
			return &h.trees[i]
		}
	}
	return nil
}

// v2 returns the v2 tree, or nil.
func (h *Host) v2() *hierarchy {
	if h.Version == V1 {
		return nil
	}
	return &h.trees[len(h.trees)-1]
}

// Controllers returns the controllers that a group can use here, for "info".
func (h *Host) Controllers() []string {
	if h.Version == V2 {
		b, _ := read(h.trees[0].dir+"/cgroup.controllers", nil)
		return strings.Fields(string(b))
	}
	var all []string
	for i := range h.trees {
		if t := &h.trees[i]; t.name != "" && t.name != "systemd" {
			all = append(all, strings.Split(t.name, ",")...)
		}
	}
	return all
}
