package network

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// Publish asks for a port of the host that leads to a port of the container.
type Publish struct {
	Proto         string // "tcp" or "udp"
	ContainerPort uint16
	HostIP        netip.Addr // the zero value: every address
	HostPort      uint16     // 0: a free one
	HostPortEnd   uint16     // the last of a range whose first free port is taken; 0: no range
}

// reservePort reserves one host port for a container.
func (s *Store) reservePort(p Publish, id string) (reserved, error) {
	r := reserved{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort, ContainerPort: p.ContainerPort}
	if !r.HostIP.IsValid() {
		r.HostIP = netip.IPv4Unspecified()
	}
	switch {
	case r.Proto != "tcp" && r.Proto != "udp":
		return r, errdefs.New(errdefs.Unsupported, "cannot publish a port of protocol %q", r.Proto).WithHint("tcp and udp can be published")
	case !r.HostIP.Is4():
		return r, errdefs.New(errdefs.Unsupported, "cannot publish on %s: only IPv4 addresses so far", r.HostIP)
	case p.HostPortEnd > p.HostPort && p.HostPort != 0:
		return s.takeFirst(r, p.HostPortEnd, id)
	case r.HostPort != 0:
		return r, s.takePort(&r, id)
	}
	return s.takeFree(r, id)
}

// takeFirst takes the first free port of a range.
func (s *Store) takeFirst(r reserved, last uint16, id string) (reserved, error) {
	for first := r.HostPort; ; r.HostPort++ {
		err := s.takePort(&r, id)
		if err == nil || !errors.Is(err, errdefs.Conflict) {
			return r, err
		}
		if r.HostPort == last {
			return r, errdefs.New(errdefs.Conflict, "all ports of %s:%d-%d are allocated", r.HostIP, first, last).WithHint("choose another range of host ports")
		}
	}
}

// takeFree takes a port that the kernel finds free. It knows its own sockets
// and the administrator's reserved ports (ip_local_reserved_ports), but not
// ours, so it may have to be asked again.
func (s *Store) takeFree(r reserved, id string) (reserved, error) {
	const tries = 1000
	for range tries {
		r.HostPort = 0
		fd, err := bind(&r)
		if err != nil {
			return r, errdefs.Wrap(err, "find", "a free port on "+r.HostIP.String())
		}
		name, err := unix.Getsockname(fd)
		unix.Close(fd)
		in4, ok := name.(*unix.SockaddrInet4)
		if err != nil || !ok {
			return r, os.NewSyscallError("getsockname", err)
		}
		r.HostPort = uint16(in4.Port)
		if err = s.takePort(&r, id); err == nil || !errors.Is(err, errdefs.Conflict) {
			return r, err
		}
	}
	return r, errdefs.New(errdefs.Exhausted, "no host port is free").WithHint("sysctl net.ipv4.ip_local_port_range widens the choice")
}

func (s *Store) takePort(r *reserved, id string) error {
	taken := func() error {
		return errdefs.New(errdefs.Conflict, "Bind for %s:%d failed: port is already allocated", r.HostIP, r.HostPort).
			WithHint("berth ps shows which container has it; choose another host port")
	}
	if s.overlaps(r) {
		return taken()
	}
	err := reserve(s.portFile(r), id)
	if errors.Is(err, fs.ErrExist) {
		return taken()
	}
	if err != nil {
		return errdefs.Wrap(err, "reserve", "a port")
	}
	if s.overlaps(r) { // another start took the same port on an address that covers ours
		return errors.Join(taken(), unreserve(s.portFile(r), id))
	}
	fd, err := bind(r)
	if err != nil {
		return errors.Join(errdefs.New(errdefs.Conflict, "cannot publish %s:%d/%s: %w", r.HostIP, r.HostPort, r.Proto, err).
			WithHint("a process of the host has this port: ss -lntup | grep :%d", r.HostPort), unreserve(s.portFile(r), id))
	}
	return unix.Close(fd)
}

func (s *Store) portFile(r *reserved) string {
	return filepath.Join(s.portDir(), r.Proto+"-"+strconv.Itoa(int(r.HostPort))+"-"+r.HostIP.String())
}

// overlaps reports whether the port is reserved on another address that covers
// this one, or that this one covers.
func (s *Store) overlaps(r *reserved) bool {
	prefix := r.Proto + "-" + strconv.Itoa(int(r.HostPort)) + "-"
	entries, err := os.ReadDir(s.portDir())
	if err != nil {
		return false
	}
	for _, e := range entries {
		if ip, ok := strings.CutPrefix(e.Name(), prefix); ok {
			other, err := netip.ParseAddr(ip)
			if err == nil && other != r.HostIP && (other.IsUnspecified() || r.HostIP.IsUnspecified()) {
				return true
			}
		}
	}
	return false
}

// bind opens a socket on the host's side of a port: it fails if a process of
// the host has it.
func bind(r *reserved) (fd int, err error) {
	kind := unix.SOCK_STREAM
	if r.Proto == "udp" {
		kind = unix.SOCK_DGRAM
	}
	if fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if kind == unix.SOCK_STREAM { // connections that are still closing do not count
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(r.HostPort), Addr: r.HostIP.As4()}); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}
