package flagvalue

import (
	"fmt"
	"net/netip"
	"strings"
)

// IP checks a --dns.
func IP(s string) (string, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil {
		return "", fmt.Errorf("IP address is not correctly formatted: %s", s)
	}
	return a.String(), nil
}

// hostGateway stands for the host's own address.
const hostGateway = "host-gateway"

// ExtraHost checks an --add-host: "name:ip", "name=ip", "name:[ipv6]", "name:host-gateway".
func ExtraHost(s string) (string, error) {
	name, addr, ok := strings.Cut(s, "=")
	if !ok {
		name, addr, ok = strings.Cut(s, ":")
	}
	if !ok || name == "" {
		return "", fmt.Errorf("bad format for add-host: %q", s)
	}
	if addr == hostGateway {
		return name + ":" + addr, nil
	}
	if strings.HasPrefix(addr, "[") && strings.HasSuffix(addr, "]") {
		addr = addr[1 : len(addr)-1]
	}
	if _, err := netip.ParseAddr(addr); err != nil {
		return "", fmt.Errorf("invalid IP address in add-host: %q", addr)
	}
	return name + ":" + addr, nil
}

// SearchDomain checks a --dns-search: a domain name, or "." for none.
func SearchDomain(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "." {
		return s, nil
	}
	letters := false
	for _, label := range strings.Split(strings.TrimSuffix(s, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", fmt.Errorf("%s is not a valid domain", s)
		}
		for _, c := range label {
			letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
			letters = letters || letter
			if !letter && c != '-' && (c < '0' || c > '9') {
				return "", fmt.Errorf("%s is not a valid domain", s)
			}
		}
	}
	if !letters || len(s) > 255 {
		return "", fmt.Errorf("%s is not a valid domain", s)
	}
	return s, nil
}
