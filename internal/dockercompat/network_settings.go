package dockercompat

import (
	"strings"

	"berth/internal/container"
	"berth/internal/engine"
)

// NetworkSettings is a container's network as it is now.
type NetworkSettings struct {
	Bridge                 string
	SandboxID              string
	SandboxKey             string
	Ports                  map[string][]container.PortBinding // null: exposed and not published
	HairpinMode            bool
	LinkLocalIPv6Address   string
	LinkLocalIPv6PrefixLen int
	SecondaryIPAddresses   []Address
	SecondaryIPv6Addresses []Address
	EndpointID             string // from here on: of the default network, as in Networks
	Gateway                string
	GlobalIPv6Address      string
	GlobalIPv6PrefixLen    int
	IPAddress              string
	IPPrefixLen            int
	IPv6Gateway            string
	MacAddress             string
	Networks               map[string]*Endpoint
}

// Address is an address with its prefix.
type Address struct {
	Addr      string
	PrefixLen int
}

// Endpoint is a container's place on one network.
type Endpoint struct {
	IPAMConfig          *struct{}
	Links               []string
	Aliases             []string
	MacAddress          string
	DriverOpts          map[string]string
	NetworkID           string
	EndpointID          string
	Gateway             string
	IPAddress           string
	IPPrefixLen         int
	IPv6Gateway         string
	GlobalIPv6Address   string
	GlobalIPv6PrefixLen int
	DNSNames            []string
}

// defaultNetwork is the one whose endpoint also stands outside of Networks.
const defaultNetwork = "bridge"

func newNetworkSettings(in *engine.Inspection) *NetworkSettings {
	n := &in.State.Network
	if !in.State.Status.Live() {
		n = &container.Network{} // what it had belongs to others now
	}
	s := &NetworkSettings{Bridge: n.Bridge, SandboxID: n.SandboxID, Ports: map[string][]container.PortBinding{}, Networks: map[string]*Endpoint{}}
	for name, e := range n.Networks {
		s.Networks[name] = &Endpoint{
			MacAddress: e.MacAddress, NetworkID: e.NetworkID, EndpointID: e.EndpointID,
			Gateway: e.Gateway, IPAddress: e.IPAddress, IPPrefixLen: e.IPPrefixLen,
		}
	}
	mode := in.HostConfig.NetworkMode
	if len(n.Networks) == 0 && mode != "" && !strings.HasPrefix(mode, "container:") {
		s.Networks[mode] = &Endpoint{} // it is meant for that network, and not on it now
	}
	if e, ok := n.Networks[defaultNetwork]; ok {
		s.EndpointID, s.Gateway, s.IPAddress, s.IPPrefixLen, s.MacAddress = e.EndpointID, e.Gateway, e.IPAddress, e.IPPrefixLen, e.MacAddress
	}
	if !in.State.Status.Live() {
		return s
	}
	for port, bindings := range n.Ports {
		s.Ports[port] = bindings
	}
	for port := range in.Config.ExposedPorts {
		if _, published := s.Ports[port]; !published && mode != "host" {
			s.Ports[port] = nil
		}
	}
	return s
}
