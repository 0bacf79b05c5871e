package engine

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// NetworkInfo is one network. JSON names are those of Docker's network inspect.
type NetworkInfo struct {
	Name       string                     `json:"Name"`
	ID         string                     `json:"Id"`
	Created    time.Time                  `json:"Created"`
	Scope      string                     `json:"Scope"`  // "local"
	Driver     string                     `json:"Driver"` // "bridge", "host", "null"
	EnableIPv4 bool                       `json:"EnableIPv4"`
	EnableIPv6 bool                       `json:"EnableIPv6"`
	IPAM       NetworkIPAM                `json:"IPAM"`
	Internal   bool                       `json:"Internal"`
	Attachable bool                       `json:"Attachable"`
	Ingress    bool                       `json:"Ingress"`
	ConfigFrom struct{ Network string }   `json:"ConfigFrom"`
	ConfigOnly bool                       `json:"ConfigOnly"`
	Containers map[string]NetworkEndpoint `json:"Containers"` // by id; those that run
	Options    map[string]string          `json:"Options"`
	Labels     map[string]string          `json:"Labels"`
}

// NetworkIPAM is where a network's addresses come from.
type NetworkIPAM struct {
	Driver  string            `json:"Driver"`
	Options map[string]string `json:"Options"`
	Config  []NetworkSubnet   `json:"Config"`
}

// NetworkSubnet is one range of addresses.
type NetworkSubnet struct {
	Subnet  string `json:"Subnet"`
	Gateway string `json:"Gateway"`
}

// NetworkEndpoint is a container's place on a network.
type NetworkEndpoint struct {
	Name        string `json:"Name"`
	EndpointID  string `json:"EndpointID"`
	MacAddress  string `json:"MacAddress"`
	IPv4Address string `json:"IPv4Address"` // with the prefix's length
	IPv6Address string `json:"IPv6Address"`
}

// List returns the networks by name. The filters are Docker's.
func (n *Networks) List(ctx context.Context, f Filters) ([]NetworkInfo, error) {
	if err := checkNetworkFilters(f); err != nil {
		return nil, err
	}
	all, err := n.all()
	if err != nil {
		return nil, err
	}
	list := all[:0]
	for _, info := range all {
		if selectsNetwork(f, &info) {
			list = append(list, info)
		}
	}
	return list, ctx.Err()
}

// Inspect returns the network of that name, id or unique prefix of an id, with
// the containers that are on it now.
func (n *Networks) Inspect(ctx context.Context, ref string) (NetworkInfo, error) {
	all, err := n.all()
	if err != nil {
		return NetworkInfo{}, err
	}
	ids := make([]string, 0, len(all))
	for i := range all {
		if all[i].Name == ref {
			return all[i], ctx.Err()
		}
		ids = append(ids, all[i].ID)
	}
	id, err := ident.Resolve(ref, ids, "network")
	if errors.Is(err, errdefs.NotFound) {
		return NetworkInfo{}, errdefs.New(errdefs.NotFound, "network %s not found", ref).WithHint("berth network ls shows the networks")
	}
	if err != nil {
		return NetworkInfo{}, err
	}
	return all[slices.Index(ids, id)], ctx.Err()
}

// all returns every network, by name. User-defined networks will come from
// package network's store, beside the three that every engine has.
func (n *Networks) all() ([]NetworkInfo, error) {
	states, err := n.e.store.States()
	if err != nil {
		return nil, err
	}
	settings, err := n.e.networks.Inspect()
	if err != nil && !errors.Is(err, errdefs.NotFound) { // NotFound: no container was on it yet
		return nil, err
	}
	bridge := n.builtin("bridge", "bridge", settings.Created, states)
	bridge.Options["com.docker.network.bridge.default_bridge"] = "true"
	bridge.Options["com.docker.network.bridge.enable_icc"] = "true"
	bridge.Options["com.docker.network.bridge.enable_ip_masquerade"] = "true"
	bridge.Options["com.docker.network.bridge.host_binding_ipv4"] = "0.0.0.0"
	bridge.Options["com.docker.network.bridge.name"] = n.e.networks.Bridge()
	bridge.Options["com.docker.network.driver.mtu"] = "1500"
	if err == nil {
		bridge.IPAM.Config = append(bridge.IPAM.Config, NetworkSubnet{settings.Subnet.String(), settings.Gateway.String()})
	}
	return []NetworkInfo{bridge, n.builtin("host", "host", settings.Created, states), n.builtin("none", "null", settings.Created, states)}, nil
}

// builtin is a network that every engine has.
func (n *Networks) builtin(name, driver string, created time.Time, states []container.State) NetworkInfo {
	info := NetworkInfo{
		Name: name, ID: n.e.networks.ID(name), Created: created, Scope: "local", Driver: driver, EnableIPv4: true,
		IPAM:       NetworkIPAM{Driver: "default", Config: []NetworkSubnet{}},
		Containers: map[string]NetworkEndpoint{}, Options: map[string]string{}, Labels: map[string]string{},
	}
	for i := range states {
		s := &states[i]
		if !s.Status.Live() || s.NetworkMode != name {
			continue
		}
		e := NetworkEndpoint{Name: s.Name}
		if at, ok := s.Network.Networks[name]; ok && at.IPAddress != "" {
			e.EndpointID, e.MacAddress, e.IPv4Address = at.EndpointID, at.MacAddress, at.IPAddress+"/"+strconv.Itoa(at.IPPrefixLen)
		}
		info.Containers[s.ID] = e
	}
	return info
}

func checkNetworkFilters(f Filters) error {
	for key := range f {
		switch key {
		case "dangling", "driver", "id", "label", "name", "scope", "type":
		default:
			return errdefs.New(errdefs.InvalidArgument, "invalid filter '%s'", key).
				WithHint("networks are filtered by dangling, driver, id, label, name, scope and type")
		}
	}
	for _, v := range f["type"] {
		if v != "builtin" && v != "custom" {
			return errdefs.New(errdefs.InvalidArgument, "invalid filter: 'type'='%s'", v).WithHint("type is builtin or custom")
		}
	}
	return nil
}

// selectsNetwork reports whether a network passes every filter: one of the
// values of each key must fit. Names and ids are matched by part, as Docker does.
func selectsNetwork(f Filters, info *NetworkInfo) bool {
	fits := map[string]func(value string) bool{
		"driver": func(v string) bool { return v == info.Driver },
		"id":     func(v string) bool { return strings.Contains(info.ID, v) },
		"name":   func(v string) bool { return strings.Contains(info.Name, v) },
		"scope":  func(v string) bool { return v == info.Scope },
		"type":   func(v string) bool { return v == "builtin" }, // all that there are
		"dangling": func(v string) bool { // those that every engine has are never left over
			return v == "false" || v == "0"
		},
		"label": func(v string) bool {
			key, want, hasValue := strings.Cut(v, "=")
			have, ok := info.Labels[key]
			return ok && (!hasValue || have == want)
		},
	}
	for key, values := range f {
		if !slices.ContainsFunc(values, fits[key]) {
			return false
		}
	}
	return true
}
