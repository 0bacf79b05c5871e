package container

import "encoding/json"

// The fields of a Record, in the order and with the names of its structs'
// tags: what is written is byte for byte what encoding/json writes, which a
// test holds.

func encodeRecord(r *Record) []byte { return encode(func(c *codec) { recordFields(c, r) }) }

// decodeRecord reads a config.json.
func decodeRecord(text []byte) (*Record, error) {
	r := &Record{}
	if decode(text, func(c *codec) { recordFields(c, r) }) {
		return r, nil
	}
	r = &Record{} // without what was read so far
	return r, json.Unmarshal(text, r)
}

func recordFields(c *codec, r *Record) {
	field(c, "Id", &r.ID, text)
	field(c, "Created", &r.Created, moment)
	field(c, "Path", &r.Path, text)
	field(c, "Args", &r.Args, listOf(text))
	field(c, "Image", &r.ImageID, text)
	field(c, "Config", &r.Config, structure(configFields))
	field(c, "HostConfig", &r.HostConfig, structure(hostConfigFields))
	field(c, "Mounts", &r.Mounts, listOf(structure(mountPointFields)))
	optionalList(c, "AnonymousVolumes", &r.AnonymousVolumes, text)
}

func configFields(c *codec, f *Config) {
	field(c, "Hostname", &f.Hostname, text)
	field(c, "Domainname", &f.Domainname, text)
	field(c, "User", &f.User, text)
	field(c, "AttachStdin", &f.AttachStdin, boolean)
	field(c, "AttachStdout", &f.AttachStdout, boolean)
	field(c, "AttachStderr", &f.AttachStderr, boolean)
	optionalMap(c, "ExposedPorts", &f.ExposedPorts, empty)
	field(c, "Tty", &f.Tty, boolean)
	field(c, "OpenStdin", &f.OpenStdin, boolean)
	field(c, "StdinOnce", &f.StdinOnce, boolean)
	field(c, "Env", &f.Env, listOf(text))
	field(c, "Cmd", &f.Cmd, listOf(text))
	field(c, "Image", &f.Image, text)
	field(c, "Volumes", &f.Volumes, mapOf(empty))
	field(c, "WorkingDir", &f.WorkingDir, text)
	field(c, "Entrypoint", &f.Entrypoint, listOf(text))
	field(c, "Labels", &f.Labels, mapOf(text))
	optional(c, "StopSignal", &f.StopSignal, text)
	optional(c, "StopTimeout", &f.StopTimeout, pointer(number[int]))
}

func hostConfigFields(c *codec, f *HostConfig) {
	field(c, "Binds", &f.Binds, listOf(text))
	optionalList(c, "Mounts", &f.Mounts, structure(mountFields))
	optionalMap(c, "Tmpfs", &f.Tmpfs, text)
	field(c, "ContainerIDFile", &f.ContainerIDFile, text)
	field(c, "LogConfig", &f.LogConfig, structure(logConfigFields))
	field(c, "NetworkMode", &f.NetworkMode, text)
	field(c, "PortBindings", &f.PortBindings, mapOf(listOf(structure(portBindingFields))))
	field(c, "PublishAllPorts", &f.PublishAllPorts, boolean)
	field(c, "RestartPolicy", &f.RestartPolicy, structure(restartPolicyFields))
	field(c, "AutoRemove", &f.AutoRemove, boolean)
	field(c, "CapAdd", &f.CapAdd, listOf(text))
	field(c, "CapDrop", &f.CapDrop, listOf(text))
	field(c, "CgroupnsMode", &f.CgroupnsMode, text)
	field(c, "Dns", &f.DNS, listOf(text))
	field(c, "DnsOptions", &f.DNSOptions, listOf(text))
	field(c, "DnsSearch", &f.DNSSearch, listOf(text))
	field(c, "ExtraHosts", &f.ExtraHosts, listOf(text))
	field(c, "GroupAdd", &f.GroupAdd, listOf(text))
	field(c, "IpcMode", &f.IpcMode, text)
	field(c, "OomScoreAdj", &f.OomScoreAdj, number)
	field(c, "PidMode", &f.PidMode, text)
	field(c, "Privileged", &f.Privileged, boolean)
	field(c, "ReadonlyRootfs", &f.ReadonlyRootfs, boolean)
	field(c, "SecurityOpt", &f.SecurityOpt, listOf(text))
	field(c, "UTSMode", &f.UTSMode, text)
	field(c, "UsernsMode", &f.UsernsMode, text)
	field(c, "ShmSize", &f.ShmSize, number)
	optionalMap(c, "Sysctls", &f.Sysctls, text)
	field(c, "Runtime", &f.Runtime, text)
	optional(c, "Init", &f.Init, pointer(boolean))
	field(c, "MaskedPaths", &f.MaskedPaths, listOf(text))
	field(c, "ReadonlyPaths", &f.ReadonlyPaths, listOf(text))
	optional(c, "Rootfs", &f.Rootfs, text)
	resourceFields(c, &f.Resources)
}

func resourceFields(c *codec, f *Resources) {
	field(c, "CgroupParent", &f.CgroupParent, text)
	field(c, "CpuShares", &f.CPUShares, number)
	field(c, "NanoCpus", &f.NanoCPUs, number)
	field(c, "CpuPeriod", &f.CPUPeriod, number)
	field(c, "CpuQuota", &f.CPUQuota, number)
	field(c, "CpusetCpus", &f.CpusetCpus, text)
	field(c, "CpusetMems", &f.CpusetMems, text)
	field(c, "Memory", &f.Memory, number)
	field(c, "MemorySwap", &f.MemorySwap, number)
	field(c, "MemoryReservation", &f.MemoryReservation, number)
	field(c, "MemorySwappiness", &f.MemorySwappiness, pointer(number[int64]))
	field(c, "OomKillDisable", &f.OomKillDisable, pointer(boolean))
	field(c, "PidsLimit", &f.PidsLimit, pointer(number[int64]))
	field(c, "BlkioWeight", &f.BlkioWeight, number)
	optionalList(c, "BlkioWeightDevice", &f.BlkioWeightDevice, structure(weightDeviceFields))
	optionalList(c, "BlkioDeviceReadBps", &f.BlkioDeviceReadBps, structure(rateDeviceFields))
	optionalList(c, "BlkioDeviceWriteBps", &f.BlkioDeviceWriteBps, structure(rateDeviceFields))
	optionalList(c, "BlkioDeviceReadIOps", &f.BlkioDeviceReadIOps, structure(rateDeviceFields))
	optionalList(c, "BlkioDeviceWriteIOps", &f.BlkioDeviceWriteIOps, structure(rateDeviceFields))
	field(c, "Devices", &f.Devices, listOf(structure(deviceFields)))
	field(c, "DeviceCgroupRules", &f.DeviceCgroupRules, listOf(text))
	field(c, "Ulimits", &f.Ulimits, listOf(structure(ulimitFields)))
}

func mountFields(c *codec, f *Mount) {
	field(c, "Type", &f.Type, text)
	optional(c, "Source", &f.Source, text)
	field(c, "Target", &f.Target, text)
	optional(c, "ReadOnly", &f.ReadOnly, boolean)
	optional(c, "Propagation", &f.Propagation, text)
	optional(c, "NonRecursive", &f.NonRecursive, boolean)
	optional(c, "NoCopy", &f.NoCopy, boolean)
	optional(c, "CreateSource", &f.CreateSource, boolean)
	optional(c, "TmpfsSize", &f.TmpfsSize, number)
	optional(c, "TmpfsMode", &f.TmpfsMode, number)
}

func mountPointFields(c *codec, f *MountPoint) {
	field(c, "Type", &f.Type, text)
	optional(c, "Name", &f.Name, text)
	field(c, "Source", &f.Source, text)
	field(c, "Destination", &f.Destination, text)
	optional(c, "Driver", &f.Driver, text)
	field(c, "Mode", &f.Mode, text)
	field(c, "RW", &f.RW, boolean)
	field(c, "Propagation", &f.Propagation, text)
}

func logConfigFields(c *codec, f *LogConfig) {
	field(c, "Type", &f.Type, text)
	field(c, "Config", &f.Config, mapOf(text))
}

func portBindingFields(c *codec, f *PortBinding) {
	field(c, "HostIp", &f.HostIP, text)
	field(c, "HostPort", &f.HostPort, text)
}

func restartPolicyFields(c *codec, f *RestartPolicy) {
	field(c, "Name", &f.Name, text)
	field(c, "MaximumRetryCount", &f.MaximumRetryCount, number)
}

func weightDeviceFields(c *codec, f *WeightDevice) {
	field(c, "Path", &f.Path, text)
	field(c, "Weight", &f.Weight, number)
}

func rateDeviceFields(c *codec, f *RateDevice) {
	field(c, "Path", &f.Path, text)
	field(c, "Rate", &f.Rate, unsigned)
}

func deviceFields(c *codec, f *Device) {
	field(c, "PathOnHost", &f.PathOnHost, text)
	field(c, "PathInContainer", &f.PathInContainer, text)
	field(c, "CgroupPermissions", &f.CgroupPermissions, text)
}

func ulimitFields(c *codec, f *Ulimit) {
	field(c, "Name", &f.Name, text)
	field(c, "Soft", &f.Soft, number)
	field(c, "Hard", &f.Hard, number)
}
