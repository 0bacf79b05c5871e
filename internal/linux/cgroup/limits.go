package cgroup

// Limits are the limits of a group, in the kernel's units. The zero value of a
// field, nil included, means "not set": the kernel's default for a new group,
// no change for an existing one.
type Limits struct {
	NanoCPUs   int64  // --cpus x 1e9: becomes a quota for the default period
	CPUShares  uint64 // --cpu-shares: relative weight, 1024 is everyone's default
	CPUPeriod  uint64 // --cpu-period: microseconds
	CPUQuota   int64  // --cpu-quota: microseconds of CPU in each period; -1: unlimited
	CpusetCpus string // --cpuset-cpus: "0-2,4"
	CpusetMems string // --cpuset-mems

	Memory            int64  // --memory: bytes; -1: unlimited
	MemorySwap        int64  // --memory-swap: bytes of memory and swap together; -1: unlimited swap
	MemoryReservation int64  // --memory-reservation: bytes that reclaim leaves alone while it can
	Swappiness        *int64 // --memory-swappiness: 0 to 100; v1 only
	OOMKillDisable    bool   // --oom-kill-disable: wait for memory instead of killing; v1 only

	Pids int64 // --pids-limit; -1: unlimited

	BlkioWeight   uint16 // --blkio-weight: 10 to 1000
	WeightDevices []WeightDevice
	ReadBps       []RateDevice // --device-read-bps
	WriteBps      []RateDevice // --device-write-bps
	ReadIOps      []RateDevice // --device-read-iops
	WriteIOps     []RateDevice // --device-write-iops

	Devices []DeviceRule // in order, the last that matches counts; nil: no restriction is made

	Unified map[string]string // v2 control files by name, written as they are and last
}

// WeightDevice is a block device's weight, 10 to 1000.
type WeightDevice struct {
	Major, Minor uint32
	Weight       uint16
}

// RateDevice is a block device's limit per second.
type RateDevice struct {
	Major, Minor uint32
	Rate         uint64
}

// DefaultPeriod is the kernel's period of CPU bandwidth control in microseconds.
const DefaultPeriod = 100000

// Bandwidth returns the quota and period to be written, 0 where not set.
func (l *Limits) Bandwidth() (quota int64, period uint64) {
	if l.NanoCPUs > 0 {
		return l.NanoCPUs * DefaultPeriod / 1e9, DefaultPeriod
	}
	return l.CPUQuota, l.CPUPeriod
}

// setting is one value for one control file.
type setting struct {
	controller string // as v1 names it
	file       string
	value      string
	flag       string // the option the user knows it by
	// altFile and altValue do instead where the kernel has no such file.
	altFile, altValue string
}
