package engine

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/network"
	"berth/internal/oci"
)

// networkRequest translates the record's published ports.
func networkRequest(r *container.Record) (network.Request, error) {
	req := network.Request{ContainerID: r.ID}
	for spec, bindings := range r.HostConfig.PortBindings {
		port, proto, err := oci.ParsePort(spec)
		if err != nil {
			return req, errdefs.New(errdefs.InvalidArgument, "invalid container port %q", spec)
		}
		for _, b := range bindings {
			p := network.Publish{Proto: proto, ContainerPort: port}
			if b.HostIP != "" {
				if p.HostIP, err = netip.ParseAddr(b.HostIP); err != nil {
					return req, errdefs.New(errdefs.InvalidArgument, "invalid host address %q of port %s", b.HostIP, spec)
				}
			}
			if b.HostPort != "" {
				if p.HostPort, p.HostPortEnd, err = oci.ParsePortRange(b.HostPort); err != nil {
					return req, errdefs.New(errdefs.InvalidArgument, "invalid host port %q of port %s", b.HostPort, spec)
				}
			}
			req.Ports = append(req.Ports, p)
		}
	}
	if r.HostConfig.PublishAllPorts {
		for spec := range r.Config.ExposedPorts {
			if _, done := r.HostConfig.PortBindings[spec]; done {
				continue
			}
			port, proto, err := oci.ParsePort(spec)
			if err != nil {
				return req, errdefs.New(errdefs.InvalidArgument, "invalid container port %q", spec)
			}
			req.Ports = append(req.Ports, network.Publish{Proto: proto, ContainerPort: port})
		}
	}
	return req, nil
}

// exposedPorts are the ports that a container's program says it listens on.
func exposedPorts(r *container.Record) (list []container.Port) {
	for spec := range r.Config.ExposedPorts {
		if port, proto, err := oci.ParsePort(spec); err == nil {
			list = append(list, container.Port{PrivatePort: port, Type: proto})
		}
	}
	return list
}

// publishedPorts are the ports that ps shows of a running container.
func publishedPorts(r *container.Record, published map[string][]container.PortBinding) (list []container.Port) {
	for spec, bindings := range published {
		port, proto, err := oci.ParsePort(spec)
		if err != nil {
			continue
		}
		for _, b := range bindings {
			n, _ := strconv.ParseUint(b.HostPort, 10, 16) // written by the network itself
			list = append(list, container.Port{IP: b.HostIP, PublicPort: uint16(n), PrivatePort: port, Type: proto})
		}
	}
	for _, p := range exposedPorts(r) {
		if _, done := published[strconv.Itoa(int(p.PrivatePort))+"/"+p.Type]; !done {
			list = append(list, p)
		}
	}
	return list
}

// networkFiles writes /etc/hosts, /etc/hostname and /etc/resolv.conf of a
// container and returns their bind mounts. They are made anew by every start,
// so they lie among the run-time files: usually on a tmpfs, and a full disk
// does not keep a container from starting. A container that shares another's
// network shares its files too, as Docker does.
func (s *launch) networkFiles() ([]specs.Mount, error) {
	dir := s.filesDir
	if ref, ok := containerMode(s.h.NetworkMode); ok {
		dir = s.e.store.StateDir(ref)
	} else if err := s.writeNetworkFiles(); err != nil {
		return nil, err
	}
	list := make([]specs.Mount, 0, 3)
	for _, name := range [...]string{"resolv.conf", "hostname", "hosts"} {
		list = append(list, specs.Mount{Destination: "/etc/" + name, Type: "bind", Source: filepath.Join(dir, name), Options: []string{"rbind", "rprivate"}})
	}
	return list, nil
}

func (s *launch) writeNetworkFiles() error {
	hosts, err := s.hosts()
	if err != nil {
		return err
	}
	resolv, err := s.resolvConf()
	if err != nil {
		return err
	}
	name := s.r.Config.Hostname
	if name == "" {
		if name, err = os.Hostname(); err != nil {
			return err
		}
	}
	for file, text := range map[string][]byte{"hosts": hosts, "resolv.conf": resolv, "hostname": []byte(name + "\n")} {
		path := filepath.Join(s.filesDir, file)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
		if s.r.IDs != nil {
			if err := giveFile(s.r.IDs, path); err != nil {
				return err
			}
		}
	}
	return nil
}

// hosts returns /etc/hosts by the network's kind.
func (s *launch) hosts() ([]byte, error) {
	own, gateway := network.HostName{}, netip.Addr{}
	switch {
	case s.net != nil && s.anywhere:
		own = network.HostName{Addr: "127.0.0.1", Names: hostNames(&s.r.Config)}
		if slices.ContainsFunc(s.h.ExtraHosts, func(e string) bool { return strings.HasSuffix(e, network.HostGateway) }) {
			gateway = s.net.Settings.Gateway
		}
	case s.net != nil:
		own, gateway = network.HostName{Addr: s.net.Address.String(), Names: hostNames(&s.r.Config)}, s.net.Settings.Gateway
	case s.h.NetworkMode == "host" && len(s.h.ExtraHosts) == 0:
		if text, err := os.ReadFile("/etc/hosts"); err == nil {
			return text, nil
		}
	}
	return network.HostsFile(own, gateway, s.h.ExtraHosts)
}

// hostNames are the names of a container for its own address: the full one first.
func hostNames(c *container.Config) string {
	if c.Domainname != "" {
		return c.Hostname + "." + c.Domainname + " " + c.Hostname
	}
	return c.Hostname
}

func (s *launch) resolvConf() ([]byte, error) {
	host, err := network.HostResolvConf()
	if err != nil {
		return nil, err
	}
	if s.h.NetworkMode == "host" && len(s.h.DNS)+len(s.h.DNSSearch)+len(s.h.DNSOptions) == 0 {
		return host, nil
	}
	servers := s.h.DNS
	if s.h.NetworkMode == "host" && len(servers) == 0 {
		servers = network.Nameservers(host) // all of which it can reach
	}
	return network.ResolvConf(host, servers, s.h.DNSSearch, s.h.DNSOptions), nil
}
