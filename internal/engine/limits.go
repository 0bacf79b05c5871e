package engine

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/cgroup"
	"berth/internal/runtime/spec"
)

type sysStat = syscall.Stat_t

func itoa[T ~int | ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }

// limits translates the user's resources into the kernel's.
func limits(r *container.Resources, rules []cgroup.DeviceRule) (cgroup.Limits, error) {
	l := cgroup.Limits{
		NanoCPUs: r.NanoCPUs, CPUShares: uint64(max(r.CPUShares, 0)), CPUPeriod: uint64(max(r.CPUPeriod, 0)), CPUQuota: r.CPUQuota,
		CpusetCpus: r.CpusetCpus, CpusetMems: r.CpusetMems,
		Memory: r.Memory, MemorySwap: r.MemorySwap, MemoryReservation: r.MemoryReservation, Swappiness: r.MemorySwappiness,
		OOMKillDisable: r.OomKillDisable != nil && *r.OomKillDisable,
		Pids:           spec.DefaultPidsLimit, BlkioWeight: r.BlkioWeight, Devices: rules,
	}
	if r.PidsLimit != nil {
		if l.Pids = *r.PidsLimit; l.Pids <= 0 {
			l.Pids = -1
		}
	}
	if l.Memory > 0 && l.MemorySwap == 0 {
		l.MemorySwap = 2 * l.Memory
	}
	for _, d := range r.BlkioWeightDevice {
		major, minor, err := deviceNumber(d.Path)
		if err != nil {
			return l, err
		}
		l.WeightDevices = append(l.WeightDevices, cgroup.WeightDevice{Major: major, Minor: minor, Weight: d.Weight})
	}
	for _, x := range []struct {
		from []container.RateDevice
		to   *[]cgroup.RateDevice
	}{{r.BlkioDeviceReadBps, &l.ReadBps}, {r.BlkioDeviceWriteBps, &l.WriteBps}, {r.BlkioDeviceReadIOps, &l.ReadIOps}, {r.BlkioDeviceWriteIOps, &l.WriteIOps}} {
		for _, d := range x.from {
			major, minor, err := deviceNumber(d.Path)
			if err != nil {
				return l, err
			}
			*x.to = append(*x.to, cgroup.RateDevice{Major: major, Minor: minor, Rate: d.Rate})
		}
	}
	return l, nil
}

func deviceNumber(path string) (major, minor uint32, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, 0, errdefs.New(errdefs.InvalidArgument, "%s is not a block device", path)
	}
	return unix.Major(st.Rdev), unix.Minor(st.Rdev), nil
}
