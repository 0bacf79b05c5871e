package cgroup

import "strconv"

// v1 returns the limits as values of v1 control files (the kernel's
// Documentation/admin-guide/cgroup-v1), in the order in which they are to be written.
func (l *Limits) v1(s []setting) []setting {
	add := func(controller, file, value, flag string) {
		s = append(s, setting{controller: controller, file: file, value: value, flag: flag})
	}
	if l.CpusetCpus != "" {
		add("cpuset", "cpuset.cpus", l.CpusetCpus, "--cpuset-cpus")
	}
	if l.CpusetMems != "" {
		add("cpuset", "cpuset.mems", l.CpusetMems, "--cpuset-mems")
	}
	if l.CPUShares != 0 {
		add("cpu", "cpu.shares", strconv.FormatUint(l.CPUShares, 10), "--cpu-shares")
	}
	quota, period := l.Bandwidth()
	if period != 0 {
		add("cpu", "cpu.cfs_period_us", strconv.FormatUint(period, 10), "--cpu-period")
	}
	if quota != 0 {
		add("cpu", "cpu.cfs_quota_us", strconv.FormatInt(quota, 10), l.quotaFlag())
	}
	if l.Memory != 0 { // before memory.memsw: it must never be the greater of the two
		add("memory", "memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10), "--memory")
	}
	if l.MemorySwap != 0 {
		add("memory", "memory.memsw.limit_in_bytes", strconv.FormatInt(l.MemorySwap, 10), "--memory-swap")
	}
	if l.MemoryReservation != 0 {
		add("memory", "memory.soft_limit_in_bytes", strconv.FormatInt(l.MemoryReservation, 10), "--memory-reservation")
	}
	if l.Swappiness != nil && *l.Swappiness >= 0 {
		add("memory", "memory.swappiness", strconv.FormatInt(*l.Swappiness, 10), "--memory-swappiness")
	}
	if l.OOMKillDisable {
		add("memory", "memory.oom_control", "1", "--oom-kill-disable")
	}
	if l.Pids != 0 {
		add("pids", "pids.max", orMax(l.Pids), "--pids-limit")
	}
	return l.devicesV1(l.blkioV1(s))
}

// blkioV1 adds the block i/o settings. The weight belongs to the i/o scheduler:
// BFQ's file today, CFQ's before Linux 5.0.
func (l *Limits) blkioV1(s []setting) []setting {
	if l.BlkioWeight != 0 {
		value := strconv.FormatUint(uint64(l.BlkioWeight), 10)
		s = append(s, setting{controller: "blkio", file: "blkio.bfq.weight", value: value, flag: "--blkio-weight",
			altFile: "blkio.weight", altValue: value})
	}
	for _, d := range l.WeightDevices {
		value := device(d.Major, d.Minor) + " " + strconv.FormatUint(uint64(d.Weight), 10)
		s = append(s, setting{controller: "blkio", file: "blkio.bfq.weight_device", value: value, flag: "--blkio-weight-device",
			altFile: "blkio.weight_device", altValue: value})
	}
	rates := func(list []RateDevice, file, flag string) {
		for _, d := range list {
			s = append(s, setting{controller: "blkio", file: file, flag: flag,
				value: device(d.Major, d.Minor) + " " + strconv.FormatUint(d.Rate, 10)})
		}
	}
	rates(l.ReadBps, "blkio.throttle.read_bps_device", "--device-read-bps")
	rates(l.WriteBps, "blkio.throttle.write_bps_device", "--device-write-bps")
	rates(l.ReadIOps, "blkio.throttle.read_iops_device", "--device-read-iops")
	rates(l.WriteIOps, "blkio.throttle.write_iops_device", "--device-write-iops")
	return s
}

// devicesV1 adds the device rules. The kernel keeps a default and a list of
// exceptions from it; writing "a" sets the default and empties the list,
// whatever stands behind the letter, so a narrower rule for both types is split.
func (l *Limits) devicesV1(s []setting) []setting {
	for _, r := range l.Devices {
		file := "devices.deny"
		if r.Allow {
			file = "devices.allow"
		}
		add := func(value string) {
			s = append(s, setting{controller: "devices", file: file, value: value, flag: "--device-cgroup-rule"})
		}
		switch {
		case r.everything():
			add("a")
		case r.Type == 'a':
			r.Type = 'c'
			add(r.String())
			r.Type = 'b'
			add(r.String())
		default:
			add(r.String())
		}
	}
	return s
}

// quotaFlag names the option that set the quota.
func (l *Limits) quotaFlag() string {
	if l.NanoCPUs > 0 {
		return "--cpus"
	}
	return "--cpu-quota"
}

// orMax writes a limit, a negative one as "max".
func orMax(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// device writes a device number as the block i/o files take it.
func device(major, minor uint32) string {
	return strconv.FormatUint(uint64(major), 10) + ":" + strconv.FormatUint(uint64(minor), 10)
}
