package container

import (
	"fmt"
	"strings"

	"berth/internal/cli/flagvalue"
	"berth/internal/container"
)

// resources fills in the limits.
func (f *CreateFlags) resources(_ *container.Config, h *container.HostConfig) error {
	if f.swappiness < -1 || f.swappiness > 100 {
		return fmt.Errorf("invalid value: %d. Valid memory swappiness range is 0-100", f.swappiness)
	}
	if f.blkioWeight != 0 && (f.blkioWeight < 10 || f.blkioWeight > 1000) {
		return fmt.Errorf("range of blkio weight is from 10 to 1000")
	}
	if f.cpus != 0 && (f.cpuPeriod != 0 || f.cpuQuota != 0) {
		return fmt.Errorf("conflicting options: Nano CPUs and CPU Period or Quota cannot both be set")
	}
	h.OomScoreAdj = f.oomScoreAdj
	h.Resources = container.Resources{
		CgroupParent: f.cgroupParent,
		CPUShares:    f.cpuShares, NanoCPUs: int64(f.cpus), CPUPeriod: f.cpuPeriod, CPUQuota: f.cpuQuota,
		CpusetCpus: f.cpusetCpus, CpusetMems: f.cpusetMems,
		Memory: int64(f.memory), MemorySwap: int64(f.swap), MemoryReservation: int64(f.reservation),
		BlkioWeight: f.blkioWeight, BlkioWeightDevice: f.blkioWeightDevice,
		BlkioDeviceReadBps: f.readBps.Values, BlkioDeviceWriteBps: f.writeBps.Values,
		BlkioDeviceReadIOps: f.readIOps.Values, BlkioDeviceWriteIOps: f.writeIOps.Values,
		DeviceCgroupRules: f.deviceRules.Values, Ulimits: f.ulimits,
	}
	if f.swappiness != -1 {
		h.MemorySwappiness = &f.swappiness
	}
	if f.set.Changed("pids-limit") {
		h.PidsLimit = &f.pids
	}
	if f.set.Changed("oom-kill-disable") {
		h.OomKillDisable = &f.oomKillDisable
	}
	for _, s := range f.devices.Values {
		d, err := flagvalue.ParseDevice(s)
		if err != nil {
			return err
		}
		h.Devices = append(h.Devices, d)
	}
	return nil
}

// network fills in the network and the ports.
func (f *CreateFlags) network(c *container.Config, h *container.HostConfig) error {
	h.NetworkMode = "bridge"
	switch n := len(f.networks.Values); {
	case n > 1:
		return fmt.Errorf("one container, one network: --network is given %d times", n)
	case n == 1:
		mode, err := networkMode(f.networks.Values[0])
		if err != nil {
			return err
		}
		h.NetworkMode = mode
	}
	h.DNS, h.DNSOptions, h.DNSSearch = f.dns.Values, f.dnsOpts.Values, f.dnsFind.Values
	h.ExtraHosts = f.hosts.Values
	h.PublishAllPorts = f.publishAll
	return f.ports(c, h)
}

// networkMode accepts Docker's long form too: "name=bridge".
func networkMode(s string) (string, error) {
	s = strings.TrimPrefix(s, "name=")
	switch {
	case s == "default":
		return "bridge", nil
	case s == "container:":
		return "", fmt.Errorf("--network: invalid container format container:<name|id>")
	case s == "" || strings.ContainsAny(s, ",="):
		return "", fmt.Errorf("--network: %q is no network", s)
	}
	return s, nil
}

// storage fills in what is mounted.
func (f *CreateFlags) storage(c *container.Config, h *container.HostConfig) error {
	for _, s := range f.volumes.Values {
		bind, anonymous, err := flagvalue.ParseVolume(s)
		if err != nil {
			return err
		}
		if bind != "" {
			h.Binds = append(h.Binds, bind)
			continue
		}
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[anonymous] = struct{}{}
	}
	h.Mounts = f.mounts
	h.ShmSize = int64(f.shmSize)
	for _, s := range f.tmpfs.Values {
		target, options, _ := strings.Cut(s, ":")
		if !strings.HasPrefix(target, "/") {
			return fmt.Errorf("invalid tmpfs mount %q: the target must be an absolute path", s)
		}
		if h.Tmpfs == nil {
			h.Tmpfs = map[string]string{}
		}
		h.Tmpfs[target] = options
	}
	return nil
}

// ports fills in what is exposed and published.
func (f *CreateFlags) ports(c *container.Config, h *container.HostConfig) error {
	exposed := map[string]struct{}{}
	for _, s := range f.publish.Values {
		specs, err := flagvalue.ParsePorts(s)
		if err != nil {
			return err
		}
		for _, p := range specs {
			exposed[p.Port] = struct{}{}
			if h.PortBindings == nil {
				h.PortBindings = map[string][]container.PortBinding{}
			}
			h.PortBindings[p.Port] = append(h.PortBindings[p.Port], p.Binding)
		}
	}
	for _, s := range f.expose.Values {
		ports, err := flagvalue.ParseExpose(s)
		if err != nil {
			return err
		}
		for _, p := range ports {
			exposed[p] = struct{}{}
		}
	}
	if len(exposed) > 0 {
		c.ExposedPorts = exposed
	}
	return nil
}
