package dockercompat

import (
	"fmt"
	"io/fs"

	"berth/internal/container"
)

// HostConfig is the engine's, with the fields that only Docker has, and with
// its own form of mounts.
type HostConfig struct {
	container.HostConfig
	Mounts               []Mount `json:",omitempty"`
	VolumeDriver         string
	VolumesFrom          []string
	ConsoleSize          [2]uint
	Cgroup               string
	Links                []string
	Isolation            string
	CPURealtimePeriod    int64 `json:"CpuRealtimePeriod"`
	CPURealtimeRuntime   int64 `json:"CpuRealtimeRuntime"`
	DeviceRequests       []struct{}
	CPUCount             int64 `json:"CpuCount"` // these four: Windows
	CPUPercent           int64 `json:"CpuPercent"`
	IOMaximumIOps        uint64
	IOMaximumBandwidth   uint64
	BlkioWeightDevice    []container.WeightDevice // these five are never left out
	BlkioDeviceReadBps   []container.RateDevice
	BlkioDeviceWriteBps  []container.RateDevice
	BlkioDeviceReadIOps  []container.RateDevice
	BlkioDeviceWriteIOps []container.RateDevice
	IDMappings           *IDMappings `json:",omitempty"` // with a user namespace of its own (Podman has the field, too)
}

// IDMappings are the maps of a user namespace, each "inside:outside:count".
type IDMappings struct {
	UIDMap []string `json:"UidMap"`
	GIDMap []string `json:"GidMap"`
}

// Mount is one --mount in Docker's form.
type Mount struct {
	Type          string         `json:",omitempty"`
	Source        string         `json:",omitempty"`
	Target        string         `json:",omitempty"`
	ReadOnly      bool           `json:",omitempty"`
	BindOptions   *BindOptions   `json:",omitempty"`
	VolumeOptions *VolumeOptions `json:",omitempty"`
	TmpfsOptions  *TmpfsOptions  `json:",omitempty"`
}

// BindOptions belong to mounts of type bind.
type BindOptions struct {
	Propagation      string `json:",omitempty"`
	NonRecursive     bool   `json:",omitempty"`
	CreateMountpoint bool   `json:",omitempty"`
}

// VolumeOptions belong to mounts of type volume.
type VolumeOptions struct {
	NoCopy bool `json:",omitempty"`
}

// TmpfsOptions belong to mounts of type tmpfs.
type TmpfsOptions struct {
	SizeBytes int64       `json:",omitempty"`
	Mode      fs.FileMode `json:",omitempty"`
}

func newHostConfig(r *container.Record) *HostConfig {
	h := &r.HostConfig
	c := &HostConfig{
		HostConfig: *h, BlkioWeightDevice: list(h.BlkioWeightDevice),
		BlkioDeviceReadBps: list(h.BlkioDeviceReadBps), BlkioDeviceWriteBps: list(h.BlkioDeviceWriteBps),
		BlkioDeviceReadIOps: list(h.BlkioDeviceReadIOps), BlkioDeviceWriteIOps: list(h.BlkioDeviceWriteIOps),
	}
	c.DNS, c.DNSOptions, c.DNSSearch = list(h.DNS), list(h.DNSOptions), list(h.DNSSearch)
	c.Devices, c.Ulimits = list(h.Devices), list(h.Ulimits)
	c.PortBindings, c.LogConfig.Config = table(h.PortBindings), table(h.LogConfig.Config)
	if r.IDs != nil {
		line := func(first uint32) []string { return []string{fmt.Sprintf("0:%d:%d", first, r.IDs.Count)} }
		c.IDMappings = &IDMappings{line(r.IDs.UID), line(r.IDs.GID)}
	}
	for i := range h.Mounts {
		c.Mounts = append(c.Mounts, newMount(&h.Mounts[i]))
	}
	return c
}

func newMount(m *container.Mount) Mount {
	d := Mount{Type: m.Type, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly}
	if b := (BindOptions{m.Propagation, m.NonRecursive, m.CreateSource}); m.Type == "bind" && b != (BindOptions{}) {
		d.BindOptions = &b
	}
	if m.Type == "volume" && m.NoCopy {
		d.VolumeOptions = &VolumeOptions{NoCopy: true}
	}
	if t := (TmpfsOptions{m.TmpfsSize, fs.FileMode(m.TmpfsMode)}); m.Type == "tmpfs" && t != (TmpfsOptions{}) {
		d.TmpfsOptions = &t
	}
	return d
}
