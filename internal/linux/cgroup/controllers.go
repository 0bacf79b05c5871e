package cgroup

import (
	"errors"
	"slices"
	"strings"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// On v2 a group has the files of a controller only if its parent names the
// controller in cgroup.subtree_control, and so on up to the root.

// wanted reports whether containers have a use for a v2 controller.
func wanted(controller string) bool {
	switch controller {
	case "cpu", "cpuset", "io", "memory", "pids", "hugetlb":
		return true
	}
	return false
}

// enabled reports whether a group has the five controllers that limits and
// stats are made of. It is the usual case: the parent is prepared once.
func (h *Host) enabled(name string) bool {
	var buf [256]byte
	b, err := read(h.trees[0].dir+name+"/cgroup.controllers", buf[:0])
	if err != nil {
		return false
	}
	n := 0
	for field := range strings.FieldsSeq(string(b)) {
		if field != "hugetlb" && wanted(field) {
			n++
		}
	}
	return n == 5
}

// enable gives the children of the group name every wanted controller there is,
// from the root down. It goes on after a failure and returns the last one.
func (h *Host) enable(name string) error {
	var failed error
	dir := h.trees[0].dir
	rest := strings.Trim(name, "/")
	for {
		if err := enableIn(dir); err != nil {
			failed = err
		}
		if rest == "" {
			return failed
		}
		var next string
		next, rest, _ = strings.Cut(rest, "/")
		dir += "/" + next
	}
}

// enableIn gives the children of one group the controllers that it has itself.
func enableIn(dir string) error {
	have, err := read(dir+"/cgroup.controllers", nil)
	if err != nil {
		return err
	}
	on, err := read(dir+"/cgroup.subtree_control", nil)
	if err != nil {
		return err
	}
	enabled := strings.Fields(string(on))
	var missing []string
	for _, c := range strings.Fields(string(have)) {
		if wanted(c) && !slices.Contains(enabled, c) {
			missing = append(missing, "+"+c)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	file := dir + "/cgroup.subtree_control"
	if write(file, strings.Join(missing, " ")) == nil {
		return nil
	}
	var failed error // the kernel takes all or none: find the one that it will not
	for _, c := range missing {
		if err := write(file, c); err != nil {
			failed = explainEnable(dir, c, err)
		}
	}
	return failed
}

func explainEnable(dir, controller string, err error) error {
	e := &errdefs.Error{Kind: errdefs.Unsupported, Op: "enable", Subject: "the cgroup controller " + controller[1:], Err: err}
	switch {
	case errors.Is(err, unix.EBUSY): // the rule of no inner processes, cgroups(7)
		return e.WithHint("the group %s holds processes itself: move them to a group below it", dir)
	case errors.Is(err, unix.EINVAL) && controller == "+cpu":
		return e.WithHint("no process with real-time scheduling may be outside the root group")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return e.WithHint("run as root, or in a systemd unit with Delegate=yes")
	}
	return e
}
