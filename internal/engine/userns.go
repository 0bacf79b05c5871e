package engine

import (
	"errors"
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/rootpath"
	"berth/internal/linux/userns"
	"berth/internal/runtime/spec"
)

// A container with --userns has ids of its own. Create takes a range from the
// pool and notes it in the record; every start makes a user namespace with that
// map, and mounts the layers through it; the removal gives the range back.

// isMapped reports whether a container is to have a user namespace.
func isMapped(h *container.HostConfig) bool { return h.UsernsMode != "" && h.UsernsMode != "host" }

// checkUserns refuses what cannot be with a user namespace. The words are Docker's.
func checkUserns(h *container.HostConfig) error {
	if !isMapped(h) {
		return nil
	}
	if h.UsernsMode != "auto" {
		if _, err := userns.ParseRange(h.UsernsMode); err != nil {
			return errdefs.New(errdefs.InvalidArgument, "--userns: invalid USER mode: %w", err).
				WithHint("use host, auto, or the host's ids as UID:GID:COUNT, for example 100000:100000:65536")
		}
	}
	for _, conflict := range [...]struct {
		what string
		is   bool
	}{
		{"privileged mode is incompatible with user namespaces", h.Privileged},
		{"cannot share the host's network namespace when user namespaces are enabled", h.NetworkMode == "host"},
		{"cannot share the host PID namespace when user namespaces are enabled", h.PidMode == "host"},
	} {
		if conflict.is {
			return errdefs.New(errdefs.InvalidArgument, "conflicting options: %s", conflict.what).
				WithHint("run the container in the host's user namespace: --userns host")
		}
	}
	return nil
}

// validateUserns refuses a user namespace that can be known to fail at start.
//
// Preconditions: the modes are resolved.
func (e *Engine) validateUserns(h *container.HostConfig) error {
	if !isMapped(h) {
		return nil
	}
	if !e.kernel.UserNamespace() || !e.kernel.IDMappedMounts() {
		return errdefs.New(errdefs.Unsupported, "this kernel has no user namespaces, or no mounts with shifted owners: --userns %s", h.UsernsMode).
			WithHint("berth info lists the kernel's features; leave --userns out, or use Linux 5.19 or newer")
	}
	ref, joined := containerMode(h.PidMode)
	if !joined {
		return nil
	}
	other, err := e.store.Load(ref)
	if err != nil {
		return err
	}
	// A /proc of a pid namespace can only be mounted by its owner.
	if other.IDs == nil {
		return errdefs.New(errdefs.Conflict, "cannot join PID of container %s, which has no user namespace", ident.Short(ref)).
			WithHint("leave --userns out")
	}
	if other.IDs.String() != h.UsernsMode {
		return errdefs.New(errdefs.Conflict, "cannot join PID of container %s, which has another user namespace", ident.Short(ref)).
			WithHint("share that, too: --userns %s", other.IDs)
	}
	return nil
}

// reserveIDs takes the container's ids from the pool.
func (e *Engine) reserveIDs(rec *container.Record) error {
	var want *userns.Range
	if rec.HostConfig.UsernsMode != "auto" {
		r, err := userns.ParseRange(rec.HostConfig.UsernsMode)
		if err != nil {
			return err
		}
		want = &r
	}
	r, err := e.ids.Reserve(rec.ID, want, !rec.HostConfig.AutoRemove, e.isGone)
	if err != nil {
		return err
	}
	rec.IDs = &r
	return nil
}

// isGone reports whether a container is no more, and nobody is making it.
func (e *Engine) isGone(id string) bool {
	if _, err := e.store.LoadState(id); !errors.Is(err, errdefs.NotFound) {
		return false
	}
	l, err := e.acquire(id)
	if err != nil {
		return false
	}
	if l.left { // its heir gives the ids back, with the rest
		_ = l.pass()
		return false
	}
	return l.end() == nil
}

// releaseIDs gives a removed container's ids back.
func (e *Engine) releaseIDs(rec *container.Record) error {
	if rec.IDs == nil {
		return nil
	}
	return e.ids.Release(rec.ID)
}

// makeUserNamespace makes the user namespace of a start, or opens that of the
// container whose other namespaces are shared, if it has the same ids.
func (s *launch) makeUserNamespace() (err error) {
	bridge := s.h.NetworkMode == "bridge"
	for _, m := range [...]struct{ mode, file string }{{s.h.PidMode, "pid"}, {s.h.IpcMode, "ipc"}, {s.h.NetworkMode, "net"}, {s.h.UTSMode, "uts"}} {
		ref, ok := containerMode(m.mode)
		if !ok {
			continue
		}
		other, err := s.e.store.Load(ref)
		if err != nil {
			return err
		}
		if other.IDs == nil || *other.IDs != *s.r.IDs {
			continue
		}
		st, err := s.e.donor(ref, m.file)
		if err != nil {
			return err
		}
		s.userns, err = userns.Of(st.PID, *s.r.IDs, bridge)
		if err != nil {
			return errdefs.Wrap(err, "join the user namespace of", "container "+ident.Short(ref))
		}
		break
	}
	if s.userns == nil {
		if s.userns, err = userns.New(*s.r.IDs, bridge); err != nil {
			return err
		}
	}
	s.in.UserNS = s.userns.User
	s.cu.Add(func() error { s.userns.Close(); return nil })
	return nil
}

// mapRootfs makes a mount of the user's own rootfs whose files are the container's.
func (s *launch) mapRootfs() error {
	tree, err := s.userns.Clone(s.h.Rootfs, true)
	if err != nil {
		return err
	}
	s.in.RootTree, s.rootfsDir = tree, rootpath.ProcPath(int(tree.Fd()))
	s.cu.Add(tree.Close)
	return nil
}

// mapFacts fits what is known of the host to the user namespace.
func (s *launch) mapFacts(f *spec.Facts) error {
	f.Join[specs.UserNamespace] = "/proc/self/ns/user" // by descriptor: see makeUserNamespace
	if err := checkUser(s.r.IDs, f.User); err != nil {
		return err
	}
	// No device can be made in a user namespace: the host's own is shown.
	f.Devices = nil
	for _, d := range s.h.Devices {
		m := specs.Mount{Destination: d.PathInContainer, Type: "bind", Source: d.PathOnHost, Options: []string{"rbind"}}
		if m.Destination == "" {
			m.Destination = d.PathOnHost
		}
		f.Binds = append(f.Binds, m)
	}
	return nil
}

// checkUser refuses a user or group that is not one of the container's.
func checkUser(ids *userns.Range, u spec.User) error {
	if ids == nil {
		return nil
	}
	for _, gid := range append([]uint32{u.GID}, u.Groups...) {
		if _, _, err := ids.Host(u.UID, gid); err != nil {
			return err
		}
	}
	return nil
}

// giveFile makes a file that was made for the container its root's.
func giveFile(ids *userns.Range, path string) error {
	return os.Lchown(path, int(ids.UID), int(ids.GID))
}
