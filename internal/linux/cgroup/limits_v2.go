package cgroup

import (
	"math"
	"sort"
	"strconv"
)

// v2 returns the limits as values of v2 control files (the kernel's
// Documentation/admin-guide/cgroup-v2.rst). Device rules are not among them:
// v2 has no files for those, see deviceFilter.
func (l *Limits) v2(s []setting) []setting {
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
		add("cpu", "cpu.weight", strconv.FormatUint(CPUWeight(l.CPUShares), 10), "--cpu-shares")
	}
	if quota, period := l.Bandwidth(); quota != 0 || period != 0 {
		value := "max" // the period alone: an unset quota is none
		if quota > 0 {
			value = strconv.FormatInt(quota, 10)
		}
		if period != 0 {
			value += " " + strconv.FormatUint(period, 10)
		}
		add("cpu", "cpu.max", value, l.quotaFlag())
	}
	if l.Memory != 0 {
		add("memory", "memory.max", orMax(l.Memory), "--memory")
	}
	if swap, set := l.Swap(); set {
		add("memory", "memory.swap.max", orMax(swap), "--memory-swap")
	}
	if l.MemoryReservation != 0 {
		add("memory", "memory.low", orMax(l.MemoryReservation), "--memory-reservation")
	}
	if l.Pids != 0 {
		add("pids", "pids.max", orMax(l.Pids), "--pids-limit")
	}
	s = l.ioV2(s)
	for _, name := range sortedKeys(l.Unified) {
		add("", name, l.Unified[name], "--cgroup-conf "+name)
	}
	return s
}

// Swap converts the limit of memory and swap together to one of swap alone, as
// v2 has it; -1 is no limit.
func (l *Limits) Swap() (swap int64, set bool) {
	switch {
	case l.MemorySwap == 0:
		return 0, false
	case l.MemorySwap < 0:
		return -1, true
	case l.Memory < 0: // unlimited memory with some swap cannot be meant
		return -1, true
	}
	return l.MemorySwap - l.Memory, true
}

// ioV2 adds the block i/o settings. io.weight belongs to the iocost controller
// and goes from 1 to 10000, io.bfq.weight to the BFQ scheduler and goes as Docker's.
func (l *Limits) ioV2(s []setting) []setting {
	if l.BlkioWeight != 0 {
		s = append(s, setting{controller: "io", flag: "--blkio-weight",
			file: "io.bfq.weight", value: strconv.FormatUint(uint64(l.BlkioWeight), 10),
			altFile: "io.weight", altValue: "default " + strconv.FormatUint(IOWeight(l.BlkioWeight), 10)})
	}
	for _, d := range l.WeightDevices {
		dev := device(d.Major, d.Minor) + " "
		s = append(s, setting{controller: "io", flag: "--blkio-weight-device",
			file: "io.bfq.weight", value: dev + strconv.FormatUint(uint64(d.Weight), 10),
			altFile: "io.weight", altValue: dev + strconv.FormatUint(IOWeight(d.Weight), 10)})
	}
	rates := func(list []RateDevice, key, flag string) {
		for _, d := range list {
			s = append(s, setting{controller: "io", file: "io.max", flag: flag,
				value: device(d.Major, d.Minor) + " " + key + "=" + strconv.FormatUint(d.Rate, 10)})
		}
	}
	rates(l.ReadBps, "rbps", "--device-read-bps")
	rates(l.WriteBps, "wbps", "--device-write-bps")
	rates(l.ReadIOps, "riops", "--device-read-iops")
	rates(l.WriteIOps, "wiops", "--device-write-iops")
	return s
}

// CPUWeight converts v1 shares (2 to 262144, default 1024) to a v2 weight (1 to
// 10000, default 100). A straight line between the ends would turn the default
// into 39 and starve containers beside systemd's services, which have 100; the
// OCI runtimes agreed on a curve through all three points.
func CPUWeight(shares uint64) uint64 {
	switch {
	case shares == 0:
		return 0
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// IOWeight converts a block i/o weight (10 to 1000) to io.weight's scale (1 to 10000).
func IOWeight(weight uint16) uint64 {
	if weight < 10 {
		return 0
	}
	return 1 + (uint64(weight)-10)*9999/990
}

func sortedKeys(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
