package container

import (
	"encoding/json"

	"berth/internal/jsontext/fields"
	"berth/internal/linux/userns"
)

// The fields of a Record, in the order and with the names of its structs'
// tags: what is written is byte for byte what encoding/json writes, which a
// test holds.

func encodeRecord(r *Record) []byte {
	return fields.Encode(func(c *fields.Codec) { recordFields(c, r) })
}

// decodeRecord reads a config.json.
func decodeRecord(text []byte) (*Record, error) {
	r := &Record{}
	if fields.Decode(text, func(c *fields.Codec) { recordFields(c, r) }) {
		return r, nil
	}
	r = &Record{} // without what was read so far
	return r, json.Unmarshal(text, r)
}

func recordFields(c *fields.Codec, r *Record) {
	fields.Field(c, "Id", &r.ID, fields.Text)
	fields.Field(c, "Created", &r.Created, fields.Time)
	fields.Field(c, "Path", &r.Path, fields.Text)
	fields.Field(c, "Args", &r.Args, fields.ListOf(fields.Text))
	fields.Field(c, "Image", &r.ImageID, fields.Text)
	fields.Field(c, "Config", &r.Config, fields.Object(configFields))
	fields.Field(c, "HostConfig", &r.HostConfig, fields.Object(hostConfigFields))
	fields.Field(c, "Mounts", &r.Mounts, fields.ListOf(fields.Object(mountPointFields)))
	fields.OptionalList(c, "AnonymousVolumes", &r.AnonymousVolumes, fields.Text)
	fields.Optional(c, "IDs", &r.IDs, fields.PointerTo(fields.Object(rangeFields)))
}

func rangeFields(c *fields.Codec, f *userns.Range) {
	fields.Field(c, "UID", &f.UID, fields.Number)
	fields.Field(c, "GID", &f.GID, fields.Number)
	fields.Field(c, "Count", &f.Count, fields.Number)
}

func configFields(c *fields.Codec, f *Config) {
	fields.Field(c, "Hostname", &f.Hostname, fields.Text)
	fields.Field(c, "Domainname", &f.Domainname, fields.Text)
	fields.Field(c, "User", &f.User, fields.Text)
	fields.Field(c, "AttachStdin", &f.AttachStdin, fields.Bool)
	fields.Field(c, "AttachStdout", &f.AttachStdout, fields.Bool)
	fields.Field(c, "AttachStderr", &f.AttachStderr, fields.Bool)
	fields.OptionalMap(c, "ExposedPorts", &f.ExposedPorts, fields.Empty)
	fields.Field(c, "Tty", &f.Tty, fields.Bool)
	fields.Field(c, "OpenStdin", &f.OpenStdin, fields.Bool)
	fields.Field(c, "StdinOnce", &f.StdinOnce, fields.Bool)
	fields.Field(c, "Env", &f.Env, fields.ListOf(fields.Text))
	fields.Field(c, "Cmd", &f.Cmd, fields.ListOf(fields.Text))
	fields.Field(c, "Image", &f.Image, fields.Text)
	fields.Field(c, "Volumes", &f.Volumes, fields.MapOf(fields.Empty))
	fields.Field(c, "WorkingDir", &f.WorkingDir, fields.Text)
	fields.Field(c, "Entrypoint", &f.Entrypoint, fields.ListOf(fields.Text))
	fields.Field(c, "Labels", &f.Labels, fields.MapOf(fields.Text))
	fields.Optional(c, "StopSignal", &f.StopSignal, fields.Text)
	fields.Optional(c, "StopTimeout", &f.StopTimeout, fields.PointerTo(fields.Number[int]))
}

func hostConfigFields(c *fields.Codec, f *HostConfig) {
	fields.Field(c, "Binds", &f.Binds, fields.ListOf(fields.Text))
	fields.OptionalList(c, "Mounts", &f.Mounts, fields.Object(mountFields))
	fields.OptionalMap(c, "Tmpfs", &f.Tmpfs, fields.Text)
	fields.Field(c, "ContainerIDFile", &f.ContainerIDFile, fields.Text)
	fields.Field(c, "LogConfig", &f.LogConfig, fields.Object(logConfigFields))
	fields.Field(c, "NetworkMode", &f.NetworkMode, fields.Text)
	fields.Field(c, "PortBindings", &f.PortBindings, fields.MapOf(fields.ListOf(fields.Object(portBindingFields))))
	fields.Field(c, "PublishAllPorts", &f.PublishAllPorts, fields.Bool)
	fields.Field(c, "RestartPolicy", &f.RestartPolicy, fields.Object(restartPolicyFields))
	fields.Field(c, "AutoRemove", &f.AutoRemove, fields.Bool)
	fields.Field(c, "CapAdd", &f.CapAdd, fields.ListOf(fields.Text))
	fields.Field(c, "CapDrop", &f.CapDrop, fields.ListOf(fields.Text))
	fields.Field(c, "CgroupnsMode", &f.CgroupnsMode, fields.Text)
	fields.Field(c, "Dns", &f.DNS, fields.ListOf(fields.Text))
	fields.Field(c, "DnsOptions", &f.DNSOptions, fields.ListOf(fields.Text))
	fields.Field(c, "DnsSearch", &f.DNSSearch, fields.ListOf(fields.Text))
	fields.Field(c, "ExtraHosts", &f.ExtraHosts, fields.ListOf(fields.Text))
	fields.Field(c, "GroupAdd", &f.GroupAdd, fields.ListOf(fields.Text))
	fields.Field(c, "IpcMode", &f.IpcMode, fields.Text)
	fields.Field(c, "OomScoreAdj", &f.OomScoreAdj, fields.Number)
	fields.Field(c, "PidMode", &f.PidMode, fields.Text)
	fields.Field(c, "Privileged", &f.Privileged, fields.Bool)
	fields.Field(c, "ReadonlyRootfs", &f.ReadonlyRootfs, fields.Bool)
	fields.Field(c, "SecurityOpt", &f.SecurityOpt, fields.ListOf(fields.Text))
	fields.Field(c, "UTSMode", &f.UTSMode, fields.Text)
	fields.Field(c, "UsernsMode", &f.UsernsMode, fields.Text)
	fields.Field(c, "ShmSize", &f.ShmSize, fields.Number)
	fields.OptionalMap(c, "Sysctls", &f.Sysctls, fields.Text)
	fields.Field(c, "Runtime", &f.Runtime, fields.Text)
	fields.Optional(c, "Init", &f.Init, fields.PointerTo(fields.Bool))
	fields.Field(c, "MaskedPaths", &f.MaskedPaths, fields.ListOf(fields.Text))
	fields.Field(c, "ReadonlyPaths", &f.ReadonlyPaths, fields.ListOf(fields.Text))
	fields.Optional(c, "Rootfs", &f.Rootfs, fields.Text)
	resourceFields(c, &f.Resources)
}

func resourceFields(c *fields.Codec, f *Resources) {
	fields.Field(c, "CgroupParent", &f.CgroupParent, fields.Text)
	fields.Field(c, "CpuShares", &f.CPUShares, fields.Number)
	fields.Field(c, "NanoCpus", &f.NanoCPUs, fields.Number)
	fields.Field(c, "CpuPeriod", &f.CPUPeriod, fields.Number)
	fields.Field(c, "CpuQuota", &f.CPUQuota, fields.Number)
	fields.Field(c, "CpusetCpus", &f.CpusetCpus, fields.Text)
	fields.Field(c, "CpusetMems", &f.CpusetMems, fields.Text)
	fields.Field(c, "Memory", &f.Memory, fields.Number)
	fields.Field(c, "MemorySwap", &f.MemorySwap, fields.Number)
	fields.Field(c, "MemoryReservation", &f.MemoryReservation, fields.Number)
	fields.Field(c, "MemorySwappiness", &f.MemorySwappiness, fields.PointerTo(fields.Number[int64]))
	fields.Field(c, "OomKillDisable", &f.OomKillDisable, fields.PointerTo(fields.Bool))
	fields.Field(c, "PidsLimit", &f.PidsLimit, fields.PointerTo(fields.Number[int64]))
	fields.Field(c, "BlkioWeight", &f.BlkioWeight, fields.Number)
	fields.OptionalList(c, "BlkioWeightDevice", &f.BlkioWeightDevice, fields.Object(weightDeviceFields))
	fields.OptionalList(c, "BlkioDeviceReadBps", &f.BlkioDeviceReadBps, fields.Object(rateDeviceFields))
	fields.OptionalList(c, "BlkioDeviceWriteBps", &f.BlkioDeviceWriteBps, fields.Object(rateDeviceFields))
	fields.OptionalList(c, "BlkioDeviceReadIOps", &f.BlkioDeviceReadIOps, fields.Object(rateDeviceFields))
	fields.OptionalList(c, "BlkioDeviceWriteIOps", &f.BlkioDeviceWriteIOps, fields.Object(rateDeviceFields))
	fields.Field(c, "Devices", &f.Devices, fields.ListOf(fields.Object(deviceFields)))
	fields.Field(c, "DeviceCgroupRules", &f.DeviceCgroupRules, fields.ListOf(fields.Text))
	fields.Field(c, "Ulimits", &f.Ulimits, fields.ListOf(fields.Object(ulimitFields)))
}

func mountFields(c *fields.Codec, f *Mount) {
	fields.Field(c, "Type", &f.Type, fields.Text)
	fields.Optional(c, "Source", &f.Source, fields.Text)
	fields.Field(c, "Target", &f.Target, fields.Text)
	fields.Optional(c, "ReadOnly", &f.ReadOnly, fields.Bool)
	fields.Optional(c, "Propagation", &f.Propagation, fields.Text)
	fields.Optional(c, "NonRecursive", &f.NonRecursive, fields.Bool)
	fields.Optional(c, "NoCopy", &f.NoCopy, fields.Bool)
	fields.Optional(c, "CreateSource", &f.CreateSource, fields.Bool)
	fields.Optional(c, "TmpfsSize", &f.TmpfsSize, fields.Number)
	fields.Optional(c, "TmpfsMode", &f.TmpfsMode, fields.Number)
}

func mountPointFields(c *fields.Codec, f *MountPoint) {
	fields.Field(c, "Type", &f.Type, fields.Text)
	fields.Optional(c, "Name", &f.Name, fields.Text)
	fields.Field(c, "Source", &f.Source, fields.Text)
	fields.Field(c, "Destination", &f.Destination, fields.Text)
	fields.Optional(c, "Driver", &f.Driver, fields.Text)
	fields.Field(c, "Mode", &f.Mode, fields.Text)
	fields.Field(c, "RW", &f.RW, fields.Bool)
	fields.Field(c, "Propagation", &f.Propagation, fields.Text)
}

func logConfigFields(c *fields.Codec, f *LogConfig) {
	fields.Field(c, "Type", &f.Type, fields.Text)
	fields.Field(c, "Config", &f.Config, fields.MapOf(fields.Text))
}

func portBindingFields(c *fields.Codec, f *PortBinding) {
	fields.Field(c, "HostIp", &f.HostIP, fields.Text)
	fields.Field(c, "HostPort", &f.HostPort, fields.Text)
}

func restartPolicyFields(c *fields.Codec, f *RestartPolicy) {
	fields.Field(c, "Name", &f.Name, fields.Text)
	fields.Field(c, "MaximumRetryCount", &f.MaximumRetryCount, fields.Number)
}

func weightDeviceFields(c *fields.Codec, f *WeightDevice) {
	fields.Field(c, "Path", &f.Path, fields.Text)
	fields.Field(c, "Weight", &f.Weight, fields.Number)
}

func rateDeviceFields(c *fields.Codec, f *RateDevice) {
	fields.Field(c, "Path", &f.Path, fields.Text)
	fields.Field(c, "Rate", &f.Rate, fields.Unsigned)
}

func deviceFields(c *fields.Codec, f *Device) {
	fields.Field(c, "PathOnHost", &f.PathOnHost, fields.Text)
	fields.Field(c, "PathInContainer", &f.PathInContainer, fields.Text)
	fields.Field(c, "CgroupPermissions", &f.CgroupPermissions, fields.Text)
}

func ulimitFields(c *fields.Codec, f *Ulimit) {
	fields.Field(c, "Name", &f.Name, fields.Text)
	fields.Field(c, "Soft", &f.Soft, fields.Number)
	fields.Field(c, "Hard", &f.Hard, fields.Number)
}
