package oci

import (
	"fmt"
	"strconv"
	"strings"
)

// Ports is a range of ports of one protocol: what EXPOSE and --publish name, and
// for one port the key of ExposedPorts in an image's config.
type Ports struct {
	First, Last uint16
	Protocol    string // "tcp", "udp", "sctp"
}

// ParsePorts reads "80", "53/udp" or "8000-8010/tcp". There is no port 0.
func ParsePorts(s string) (Ports, error) {
	ports, protocol, err := CutProtocol(s)
	if err != nil {
		return Ports{}, err
	}
	first, last, err := ParsePortRange(ports)
	if err == nil && first == 0 {
		err = fmt.Errorf("invalid port: %s", s)
	}
	return Ports{first, last, protocol}, err
}

// ParsePort reads one port: "80", "53/udp".
func ParsePort(s string) (port uint16, protocol string, err error) {
	p, err := ParsePorts(s)
	if err == nil && p.First != p.Last {
		err = fmt.Errorf("not one port: %s", s)
	}
	return p.First, p.Protocol, err
}

// CutProtocol takes "/udp" off "53/udp". Without one it is TCP.
func CutProtocol(s string) (ports, protocol string, err error) {
	ports, protocol, _ = strings.Cut(s, "/")
	switch protocol = strings.ToLower(protocol); protocol {
	case "":
		return ports, "tcp", nil
	case "tcp", "udp", "sctp":
		return ports, protocol, nil
	}
	return "", "", fmt.Errorf("invalid proto: %s", protocol)
}

// ParsePortRange reads "8080" or "8000-8010". 0 stands for any port where one is asked for.
func ParsePortRange(s string) (first, last uint16, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		to = from
	}
	a, aerr := strconv.ParseUint(from, 10, 16)
	b, berr := strconv.ParseUint(to, 10, 16)
	switch {
	case aerr != nil || berr != nil:
		return 0, 0, fmt.Errorf("invalid port: %s", s)
	case b < a || a == 0 && isRange:
		return 0, 0, fmt.Errorf("invalid range specified for port: %s", s)
	}
	return uint16(a), uint16(b), nil
}
