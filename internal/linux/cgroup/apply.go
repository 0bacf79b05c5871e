package cgroup

import (
	"errors"
	"path"
	"strings"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// Update changes the limits that are set in l and leaves the others. A refused
// value ends it; those before it, in the order of Limits, have been set.
func (g *Group) Update(l Limits) ([]string, error) {
	l, warnings, err := g.host.Check(path.Dir(g.Name), l)
	if err == nil {
		err = g.apply(&l, false)
	}
	return warnings, errdefs.Wrap(err, "update", "cgroup "+g.Name)
}

// apply writes the limits. fresh says that the group has all defaults and no process.
func (g *Group) apply(l *Limits, fresh bool) error {
	var array [24]setting
	settings := array[:0]
	if g.host.Version == V2 {
		settings = l.v2(settings)
	} else {
		settings = l.v1(settings)
	}
	w := writer{fd: -1}
	defer w.close()
	for i := range settings {
		s := &settings[i]
		if fresh && s.file == "cpu.cfs_period_us" && s.value == "100000" {
			continue // the kernel's own default
		}
		t := g.host.tree(s.controller)
		if t == nil {
			return &errdefs.Error{Kind: errdefs.Unsupported, Op: "use", Subject: s.flag,
				Err: errors.New("the cgroup controller " + s.controller + " is not available")}
		}
		if err := w.set(t.dir+g.Name, s); err != nil {
			if err = g.reorder(&w, settings, s, err); err != nil {
				return g.explain(s, err)
			}
		}
	}
	if g.host.Version == V2 && len(l.Devices) > 0 {
		return attachDevices(g.Path(""), l.Devices)
	}
	return nil
}

// writer keeps the last control file open: device rules are many lines for one file.
type writer struct {
	fd        int
	dir, file string
}

func (w *writer) set(dir string, s *setting) error {
	err := w.write(dir, s.file, s.value)
	if s.altFile != "" && errors.Is(err, unix.ENOENT) {
		err = w.write(dir, s.altFile, s.altValue)
	}
	return err
}

func (w *writer) write(dir, file, value string) error {
	if w.fd < 0 || file != w.file || dir != w.dir {
		w.close()
		fd, err := openRetry(unix.AT_FDCWD, dir+"/"+file, unix.O_WRONLY)
		if err != nil {
			return pathError("open", dir+"/"+file, err)
		}
		w.fd, w.dir, w.file = fd, dir, file
	}
	if err := writeFD(w.fd, value); err != nil {
		return pathError("write", dir+"/"+file, err)
	}
	return nil
}

func (w *writer) close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
		w.fd = -1
	}
}

// reorder helps where two values depend on each other. On v1 the limit of
// memory and swap together may at no moment be the smaller one: raising both
// has to begin with it. Quota over period may at no moment exceed the parent's.
func (g *Group) reorder(w *writer, settings []setting, failed *setting, err error) error {
	partner := ""
	switch failed.file {
	case "memory.limit_in_bytes":
		partner = "memory.memsw.limit_in_bytes"
	case "cpu.cfs_period_us":
		partner = "cpu.cfs_quota_us"
	}
	if partner == "" || !errors.Is(err, unix.EINVAL) {
		return err
	}
	dir := g.host.tree(failed.controller).dir + g.Name
	for i := range settings {
		if s := &settings[i]; s.file == partner {
			if err := w.set(dir, s); err != nil {
				return err
			}
			return w.set(dir, failed)
		}
	}
	return err
}

// explain turns the kernel's refusal of a value into words about the option.
func (g *Group) explain(s *setting, err error) error {
	e := &errdefs.Error{Kind: errdefs.InvalidArgument, Op: "use", Subject: s.flag + " " + s.value, Err: err}
	parent := path.Dir(g.Name)
	switch {
	case errors.Is(err, unix.ENOENT):
		e.Kind = errdefs.Unsupported
		if !g.Exists() {
			e.Kind = errdefs.NotFound
			return e
		}
		return e.WithHint("this kernel, or the group %s, does not offer %s", parent, s.file)
	case errors.Is(err, unix.EBUSY) && strings.HasPrefix(s.file, "memory."):
		e.Kind = errdefs.Conflict
		return e.WithHint("the container uses more than that now, and it cannot be reclaimed")
	case errors.Is(err, unix.EBUSY):
		e.Kind = errdefs.Conflict
	case errors.Is(err, unix.EPERM) && s.controller == "devices":
		e.Kind = errdefs.Forbidden
		return e.WithHint("the group %s does not have this device itself", parent)
	case s.controller == "cpuset":
		return e.WithHint("the group %s has other CPUs or memory nodes: see its %s", parent, s.file)
	case s.controller == "cpu" && errors.Is(err, unix.EINVAL):
		return e.WithHint("the group %s may have less CPU time itself", parent)
	case s.controller == "blkio" || s.controller == "io":
		return e.WithHint("the device must be a whole disk: see lsblk")
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.EROFS):
		e.Kind = errdefs.Forbidden
	}
	return e
}
