package container

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/container"
	"berth/internal/units"
)

// Status says in words how a container is: "Up 2 seconds", "Exited (0) 3 minutes ago".
func Status(s *container.State, now time.Time) string {
	switch s.Status {
	case container.Running:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt))
	case container.Paused:
		return "Up " + units.HumanDuration(now.Sub(s.StartedAt)) + " (Paused)"
	case container.Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.FinishedAt)))
	case container.Removing:
		return "Removal In Progress"
	case container.Dead:
		return "Dead"
	case container.Created:
		return "Created"
	}
	if s.StartedAt.IsZero() {
		return "Created"
	}
	if s.FinishedAt.IsZero() {
		return ""
	}
	return fmt.Sprintf("Exited (%d) %s ago", s.ExitCode, units.HumanDuration(now.Sub(s.FinishedAt)))
}

// portRun is a run of successive ports that are shown as one range.
type portRun struct {
	ip, proto   string
	first, last uint16
}

// String writes the run: "80/tcp", "0.0.0.0:8000-8002->8000-8002/tcp".
func (r portRun) String() string {
	ports := strconv.Itoa(int(r.first))
	if r.last != r.first {
		ports += "-" + strconv.Itoa(int(r.last))
	}
	if r.ip != "" {
		ports = hostPort(r.ip, ports) + "->" + ports
	}
	return ports + "/" + r.proto
}

// hostPort joins an address and a port or range, with brackets around IPv6.
func hostPort(ip, port string) string {
	if strings.Contains(ip, ":") {
		return "[" + ip + "]:" + port
	}
	return ip + ":" + port
}

// Ports lists ports as ps does: successive ports that keep their number (or are
// not published) are joined to ranges, ports published under another number
// stand one by one behind them.
func Ports(ports []container.Port) string {
	if len(ports) == 0 {
		return ""
	}
	sorted := slices.Clone(ports)
	slices.SortStableFunc(sorted, comparePorts)
	var done, moved []string
	var open []portRun // one per address and protocol, in order of appearance
	for _, p := range sorted {
		if p.IP != "" && p.PublicPort != p.PrivatePort {
			moved = append(moved, fmt.Sprintf("%s->%d/%s", hostPort(p.IP, strconv.Itoa(int(p.PublicPort))), p.PrivatePort, p.Type))
			continue
		}
		i := slices.IndexFunc(open, func(r portRun) bool { return r.ip == p.IP && r.proto == p.Type })
		switch {
		case i < 0:
			open = append(open, portRun{p.IP, p.Type, p.PrivatePort, p.PrivatePort})
		case p.PrivatePort == open[i].last+1:
			open[i].last = p.PrivatePort
		case p.PrivatePort != open[i].last:
			done = append(done, open[i].String())
			open[i] = portRun{p.IP, p.Type, p.PrivatePort, p.PrivatePort}
		}
	}
	for _, r := range open {
		done = append(done, r.String())
	}
	return strings.Join(append(done, moved...), ", ")
}

func comparePorts(a, b container.Port) int {
	switch {
	case a.PrivatePort != b.PrivatePort:
		return int(a.PrivatePort) - int(b.PrivatePort)
	case a.IP != b.IP:
		return compareIP(a.IP, b.IP)
	case a.PublicPort != b.PublicPort:
		return int(a.PublicPort) - int(b.PublicPort)
	}
	return strings.Compare(a.Type, b.Type)
}

// compareIP sorts IPv4 before IPv6, as Docker prints them.
func compareIP(a, b string) int {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	if err1 != nil || err2 != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

// sortedPorts returns the keys "80/tcp" by number, then by protocol.
func sortedPorts(ports map[string][]container.PortBinding) []string {
	keys := sortedKeys(ports)
	number := func(s string) int {
		n, _, _ := strings.Cut(s, "/")
		v, _ := strconv.Atoi(n) // a key that is no port sorts first
		return v
	}
	slices.SortStableFunc(keys, func(a, b string) int { return number(a) - number(b) })
	return keys
}
