package engine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// containerMode returns the reference of "container:<ref>".
func containerMode(mode string) (ref string, ok bool) {
	const prefix = "container:"
	if len(mode) > len(prefix) && mode[:len(prefix)] == prefix {
		return mode[len(prefix):], true
	}
	return "", false
}

// checkModes refuses options that contradict a namespace shared with the host
// or with another container. It judges what the user said: what the image adds,
// such as the ports it exposes, is no contradiction.
func checkModes(c *container.Config, h *container.HostConfig) error {
	_, joined := containerMode(h.NetworkMode)
	for _, conflict := range [...]struct {
		what string
		is   bool
	}{
		{"hostname and the UTS mode", h.UTSMode == "host" && c.Hostname != ""},
		{"hostname and the network mode", joined && c.Hostname != ""},
		{"dns and the network mode", joined && len(h.DNS) > 0},
		{"custom host-to-IP mapping and the network mode", joined && len(h.ExtraHosts) > 0},
		{"port publishing and the container type network mode", joined && (len(h.PortBindings) > 0 || h.PublishAllPorts)},
		{"port exposing and the container type network mode", joined && len(c.ExposedPorts) > 0},
	} {
		if conflict.is {
			return errdefs.New(errdefs.InvalidArgument, "conflicting options: %s", conflict.what).
				WithHint("who shares a namespace takes it as it is: give the option to the container that it belongs to")
		}
	}
	return checkUserns(h)
}

// resolveModes turns "container:<name>" into "container:<id>", so that a later
// rename of the other container changes nothing. Who shares a network shares
// the host name that goes with its address, too.
func (e *Engine) resolveModes(c *container.Config, h *container.HostConfig) error {
	for _, mode := range []*string{&h.NetworkMode, &h.IpcMode, &h.PidMode, &h.UTSMode} {
		ref, ok := containerMode(*mode)
		if !ok {
			continue
		}
		id, err := e.store.Resolve(ref)
		if err != nil {
			return err
		}
		*mode = "container:" + id
	}
	if id, ok := containerMode(h.NetworkMode); ok {
		other, err := e.store.Load(id)
		if err != nil {
			return err
		}
		c.Hostname, c.Domainname = other.Config.Hostname, other.Config.Domainname
	}
	if h.NetworkMode == "host" && c.Hostname == "" {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		c.Hostname = name
	}
	return nil
}

// donor returns the state of a container whose namespace another one joins. ns
// is the namespace's name in /proc/PID/ns.
func (e *Engine) donor(ref, ns string) (container.State, error) {
	word := strings.ToUpper(ns)
	if ns == "net" {
		word = "network"
	}
	rec, err := e.store.Load(ref)
	if err != nil {
		return container.State{}, err
	}
	if ns == "ipc" && rec.HostConfig.IpcMode != "shareable" && rec.HostConfig.IpcMode != "host" {
		if _, chained := containerMode(rec.HostConfig.IpcMode); !chained {
			return container.State{}, errdefs.New(errdefs.Conflict, "cannot join IPC of container %s: it is not shareable", ident.Short(ref)).
				WithHint("create it with --ipc shareable")
		}
	}
	if !rec.State.Status.Live() || rec.State.PID == 0 {
		return container.State{}, errdefs.New(errdefs.Conflict, "cannot join %s of a non running container: %s", word, ident.Short(ref)).
			WithHint("berth start %s", rec.State.Name)
	}
	return rec.State, nil
}

// shmDir returns the host's directory that is a container's /dev/shm, or "" if
// it has a /dev/shm of its own. POSIX shared memory belongs to an ipc
// namespace in name only: it lives in files, so who shares the one shares the other.
func (e *Engine) shmDir(r *container.Record) (string, error) {
	mode := r.HostConfig.IpcMode
	switch id, joined := containerMode(mode); {
	case mode == "shareable":
		return e.makeShm(r)
	case mode == "host" && isDir("/dev/shm"):
		return "/dev/shm", nil
	case joined:
		other, err := e.store.Load(id)
		if err != nil || other.HostConfig.IpcMode != "shareable" {
			if err == nil {
				return e.shmDir(other)
			}
			return "", err
		}
		return e.shmOf(id), nil
	}
	return "", nil
}

func (e *Engine) shmOf(id string) string { return filepath.Join(e.store.StateDir(id), "shm") }

// makeShm mounts the /dev/shm of a shareable ipc namespace on the host, where
// the containers that join it can bind it from.
func (e *Engine) makeShm(r *container.Record) (string, error) {
	dir := e.shmOf(r.ID)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	err := unix.Mount("shm", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=1777,size="+strconv.FormatInt(r.HostConfig.ShmSize, 10))
	if err == nil && r.IDs != nil {
		err = giveFile(r.IDs, dir)
	}
	return dir, errdefs.Wrap(err, "mount", dir)
}
