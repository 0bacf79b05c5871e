package flagvalue

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"berth/internal/container"
	"berth/internal/oci"
)

// PortSpec is one published port.
type PortSpec struct {
	Port    string // in the container: "80/tcp"
	Binding container.PortBinding
}

// ParsePorts parses a --publish: "[[ip:]host:]container[/proto]", where host and
// container may be ranges of one length. It returns one PortSpec for each port.
// An empty host port asks for a free one.
func ParsePorts(s string) ([]PortSpec, error) {
	ip, host, inner, err := splitPorts(s)
	if err != nil {
		return nil, err
	}
	inner, proto, err := oci.CutProtocol(inner)
	if err != nil {
		return nil, err
	}
	if inner == "" {
		return nil, fmt.Errorf("no port specified: %s<empty>", s)
	}
	first, last, err := portRange(inner)
	if err != nil || first == 0 {
		return nil, fmt.Errorf("invalid containerPort: %s", inner)
	}
	hostFirst, hostLast := 0, 0
	if host != "" {
		if hostFirst, hostLast, err = portRange(host); err != nil {
			return nil, fmt.Errorf("invalid hostPort: %s", host)
		}
		// A range for one port means: the first free one of the range.
		if hostLast-hostFirst != last-first && last != first {
			return nil, fmt.Errorf("invalid ranges specified for container and host Ports: %s and %s", inner, host)
		}
	}
	specs := make([]PortSpec, 0, last-first+1)
	for i := range last - first + 1 {
		b := container.PortBinding{HostIP: ip}
		switch {
		case host == "":
		case last == first:
			b.HostPort = host
		default:
			b.HostPort = strconv.Itoa(hostFirst + i)
		}
		specs = append(specs, PortSpec{strconv.Itoa(first+i) + "/" + proto, b})
	}
	return specs, nil
}

// ParseExpose parses an --expose: "port[-port][/proto]".
func ParseExpose(s string) ([]string, error) {
	ports, proto, err := oci.CutProtocol(s)
	if err != nil {
		return nil, err
	}
	first, last, err := portRange(ports)
	if err == nil && first == 0 {
		err = errors.New("there is no port 0")
	}
	if err != nil {
		return nil, fmt.Errorf("invalid range format for --expose: %s, error: %w", s, err)
	}
	list := make([]string, 0, last-first+1)
	for p := first; p <= last; p++ {
		list = append(list, strconv.Itoa(p)+"/"+proto)
	}
	return list, nil
}

// splitPorts splits at the colons that are not part of an IPv6 address.
func splitPorts(s string) (ip, host, inner string, err error) {
	rest := s
	if strings.HasPrefix(s, "[") {
		end := strings.Index(s, "]:")
		if end < 0 {
			return "", "", "", fmt.Errorf("invalid IP address: %s", s)
		}
		ip, rest = s[1:end], s[end+2:]
		host, inner, _ = strings.Cut(rest, ":")
	} else {
		parts := strings.Split(s, ":")
		switch n := len(parts); n {
		case 1:
			return "", "", s, nil
		case 2:
			return "", parts[0], parts[1], nil
		default:
			ip, host, inner = strings.Join(parts[:n-2], ":"), parts[n-2], parts[n-1]
		}
	}
	if ip != "" {
		if _, err := netip.ParseAddr(ip); err != nil {
			return "", "", "", fmt.Errorf("invalid IP address: %s", ip)
		}
	}
	return ip, host, inner, nil
}

// portRange is oci.ParsePortRange in numbers that can be counted beyond 65535.
func portRange(s string) (first, last int, err error) {
	a, b, err := oci.ParsePortRange(s)
	return int(a), int(b), err
}
