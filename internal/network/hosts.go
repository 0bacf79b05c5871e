package network

import (
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strings"

	"berth/internal/errdefs"
)

// HostName is a line of /etc/hosts.
type HostName struct {
	Addr  string
	Names string
}

// HostGateway stands for the host itself in --add-host.
const HostGateway = "host-gateway"

const (
	localhost4 = "127.0.0.1\tlocalhost\n"
	localhost6 = "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)

// HostsFile returns /etc/hosts: localhost, then extra, each "name:ip" or
// "name=ip", where the address may be host-gateway, then the container's own
// line. own is the zero value where berth gives no address.
func HostsFile(own HostName, gateway netip.Addr, extra []string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(localhost4)
	if own.Addr == "" {
		// On the bridge IPv6 is off: a server that listens on "localhost" would
		// find ::1 first and fail.
		b.WriteString(localhost6)
	}
	named := false
	for _, e := range extra {
		name, addr, ok := strings.Cut(e, ":")
		if n, a, eq := strings.Cut(e, "="); eq {
			name, addr, ok = n, a, true
		}
		if f := strings.Fields(name); !ok || len(f) != 1 || f[0] != name || strings.Contains(name, "#") {
			return nil, errdefs.New(errdefs.InvalidArgument, "bad format for add-host: %q", e).WithHint("--add-host NAME:ADDRESS")
		}
		if addr == HostGateway {
			if !gateway.IsValid() {
				return nil, errdefs.New(errdefs.InvalidArgument, "unable to derive the IP value for host-gateway: the container has no gateway")
			}
			addr = gateway.String()
		}
		a, err := netip.ParseAddr(strings.Trim(addr, "[]"))
		if err != nil || a.Zone() != "" { // a zone may hold anything, a newline too
			return nil, errdefs.New(errdefs.InvalidArgument, "invalid IP address in add-host: %q", addr)
		}
		named = named || name == hostName
		b.WriteString(a.String() + "\t" + name + "\n")
	}
	if gateway.IsValid() && !named {
		b.WriteString(gateway.String() + "\t" + hostName + "\n")
	}
	if own.Addr != "" {
		b.WriteString(own.Addr + "\t" + own.Names + "\n")
	}
	return b.Bytes(), nil
}

// hostName is how a container reaches its host, as on Docker's desktops.
const hostName = "host.docker.internal"

// ResolvConf returns /etc/resolv.conf of a container with a network of its own:
// the host's, without resolvers that the container cannot reach, on loopback
// and IPv6 addresses, and with what the user set instead. If none is left, the
// container has none, as with Docker since 28: no public server is made up.
func ResolvConf(host []byte, dns, search, options []string) []byte {
	var b bytes.Buffer
	line := func(key string, values []string) {
		if len(values) > 0 {
			b.WriteString(key + " " + strings.Join(values, " ") + "\n")
		}
	}
	var servers, hostSearch, hostOptions []string
	for l := range strings.Lines(string(host)) {
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(f[1]); err == nil && a.Is4() && !a.IsLoopback() {
				servers = append(servers, f[1])
			}
		case "search", "domain":
			hostSearch = f[1:]
		case "options":
			hostOptions = f[1:]
		}
	}
	if len(dns) > 0 {
		servers = dns
	}
	if len(search) > 0 {
		hostSearch = search
	}
	if len(options) > 0 {
		hostOptions = options
	}
	for _, s := range servers {
		b.WriteString("nameserver " + s + "\n")
	}
	if len(hostSearch) == 1 && hostSearch[0] == "." { // --dns-search .: none
		hostSearch = nil
	}
	line("search", hostSearch)
	line("options", hostOptions)
	return b.Bytes()
}

// HostResolvConf reads the host's resolvers. Where all of them are on loopback
// addresses and systemd-resolved's is among them, its list of the real ones is taken.
func HostResolvConf() ([]byte, error) {
	return hostResolvConf("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
}

func hostResolvConf(path, resolved string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	stub, reachable := false, false
	for _, server := range Nameservers(text) {
		a, err := netip.ParseAddr(server)
		stub = stub || server == "127.0.0.53"
		reachable = reachable || err == nil && !a.IsLoopback()
	}
	if stub && !reachable {
		if behind, err := os.ReadFile(resolved); err == nil {
			return behind, nil
		}
	}
	return text, nil
}

// Nameservers returns the servers of a resolv.conf.
func Nameservers(text []byte) (list []string) {
	for l := range strings.Lines(string(text)) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == "nameserver" {
			list = append(list, f[1])
		}
	}
	return list
}
