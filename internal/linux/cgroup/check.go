package cgroup

import (
	"runtime"
	"slices"
	"strings"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// leastMemory is Docker's: below it a program often cannot even be started.
const leastMemory = 6 << 20

// Check says what is wrong with l before anything is made for it. A value that
// no kernel could take is an error. A limit that this kernel does not offer is
// taken out of the result, with a warning in words: a container is worth more
// without it than not at all. parent is the group that the new one will be in.
func (h *Host) Check(parent string, l Limits) (Limits, []string, error) {
	if err := h.checkValues(&l); err != nil {
		return l, nil, err
	}
	c := checker{h: h, parent: parent, l: &l}
	c.controllers()
	c.memory()
	c.blkio()
	if err := c.cpusets(); err != nil {
		return l, nil, err
	}
	return l, c.warnings, nil
}

// refuse is an error about the value of one option.
func refuse(flag, format string, args ...any) *errdefs.Error {
	e := errdefs.New(errdefs.InvalidArgument, format, args...)
	e.Op, e.Subject = "use", flag
	return e
}

// checkValues tests the numbers alone.
func (h *Host) checkValues(l *Limits) error {
	if err := checkCPU(l); err != nil {
		return err
	}
	if err := checkMemory(l); err != nil {
		return err
	}
	if w := l.BlkioWeight; w != 0 && (w < 10 || w > 1000) {
		return refuse("--blkio-weight", "%d is not between 10 and 1000", w)
	}
	for _, d := range l.WeightDevices {
		if d.Weight < 10 || d.Weight > 1000 {
			return refuse("--blkio-weight-device", "%d is not between 10 and 1000", d.Weight)
		}
	}
	if l.Pids < -1 {
		return refuse("--pids-limit", "%d is negative", l.Pids).WithHint("-1 means no limit")
	}
	for name := range l.Unified {
		switch {
		case h.Version != V2:
			return &errdefs.Error{Kind: errdefs.Unsupported, Op: "use", Subject: "--cgroup-conf " + name,
				Err: errdefs.New(errdefs.Unsupported, "this host runs cgroup %s, which has no such file", h.Version)}
		case strings.ContainsAny(name, "/\x00") || !strings.Contains(name, ".") || strings.HasPrefix(name, "cgroup."):
			return refuse("--cgroup-conf", "%q is not the name of a controller's file", name)
		}
	}
	return nil
}

func checkCPU(l *Limits) error {
	cpus := int64(runtime.NumCPU())
	switch {
	case l.NanoCPUs == 0:
	case l.CPUQuota != 0:
		return refuse("--cpus", "it says the same as --cpu-quota").WithHint("give one of the two")
	case l.CPUPeriod != 0:
		return refuse("--cpus", "it says the same as --cpu-period").WithHint("give one of the two")
	case l.NanoCPUs < 1e7:
		return refuse("--cpus", "%g is less than 0.01", float64(l.NanoCPUs)/1e9)
	case l.NanoCPUs > cpus*1e9:
		return refuse("--cpus", "%g is more than the %d CPUs available", float64(l.NanoCPUs)/1e9, cpus).
			WithHint("give a number from 0.01 to %d", cpus)
	}
	switch {
	case l.CPUPeriod != 0 && (l.CPUPeriod < 1000 || l.CPUPeriod > 1000000):
		return refuse("--cpu-period", "%d is not between 1000 and 1000000 microseconds", l.CPUPeriod)
	case l.CPUQuota > 0 && l.CPUQuota < 1000:
		return refuse("--cpu-quota", "%d is less than 1000 microseconds", l.CPUQuota)
	}
	return nil
}

func checkMemory(l *Limits) error {
	small := func(n int64) bool { return n > 0 && n < leastMemory }
	switch {
	case small(l.Memory):
		return refuse("--memory", "%d bytes are less than the least that works, 6m", l.Memory)
	case small(l.MemoryReservation):
		return refuse("--memory-reservation", "%d bytes are less than the least that works, 6m", l.MemoryReservation)
	case l.MemorySwap > 0 && l.Memory == 0:
		return refuse("--memory-swap", "it is the limit of memory and swap together and needs --memory")
	case l.MemorySwap > 0 && l.MemorySwap < l.Memory:
		return refuse("--memory-swap", "%d bytes are less than --memory", l.MemorySwap).
			WithHint("it is the limit of memory and swap together: give at least the value of --memory, or -1")
	case l.Memory > 0 && l.MemoryReservation > l.Memory:
		return refuse("--memory-reservation", "%d bytes are more than --memory", l.MemoryReservation)
	case l.Swappiness != nil && (*l.Swappiness < -1 || *l.Swappiness > 100):
		return refuse("--memory-swappiness", "%d is not between 0 and 100", *l.Swappiness)
	}
	return nil
}

// checker takes out what the kernel does not offer.
type checker struct {
	h        *Host
	parent   string
	l        *Limits
	warnings []string
	made     bool // the parent was made, to look for files that a root group lacks
}

func (c *checker) drop(flag, why string) {
	c.warnings = append(c.warnings, flag+" has no effect: "+why)
}

// controllers drops the limits whose controller is missing.
func (c *checker) controllers() {
	l := c.l
	var offered []string // v2: read once, and only if something is set
	absent := func(v1, v2 string) bool {
		if c.h.Version != V2 {
			return c.h.tree(v1) == nil
		}
		if offered == nil {
			offered = append(c.h.Controllers(), "")
		}
		return !slices.Contains(offered, v2)
	}
	why := func(name string) string { return "the cgroup controller " + name + " is not available" }
	if (l.CPUShares != 0 || l.NanoCPUs != 0 || l.CPUPeriod != 0 || l.CPUQuota != 0) && absent("cpu", "cpu") {
		l.CPUShares, l.NanoCPUs, l.CPUPeriod, l.CPUQuota = 0, 0, 0, 0
		c.drop("the limit of CPU time", why("cpu"))
	}
	if (l.CpusetCpus != "" || l.CpusetMems != "") && absent("cpuset", "cpuset") {
		l.CpusetCpus, l.CpusetMems = "", ""
		c.drop("--cpuset-cpus", why("cpuset"))
	}
	if (l.Memory != 0 || l.MemorySwap != 0 || l.MemoryReservation != 0 || l.Swappiness != nil || l.OOMKillDisable) && absent("memory", "memory") {
		l.Memory, l.MemorySwap, l.MemoryReservation, l.Swappiness, l.OOMKillDisable = 0, 0, 0, nil, false
		c.drop("--memory", why("memory"))
	}
	if l.Pids != 0 && absent("pids", "pids") {
		l.Pids = 0
		c.drop("--pids-limit", why("pids"))
	}
	if l.usesBlkio() && absent("blkio", "io") {
		l.BlkioWeight, l.WeightDevices, l.ReadBps, l.WriteBps, l.ReadIOps, l.WriteIOps = 0, nil, nil, nil, nil, nil
		c.drop("the limit of block i/o", why("blkio"))
	}
	if len(l.Devices) > 0 && c.h.Version != V2 && c.h.tree("devices") == nil {
		l.Devices = nil
		c.drop("the list of allowed devices", why("devices"))
	}
}

func (l *Limits) usesBlkio() bool {
	return l.BlkioWeight != 0 || len(l.WeightDevices)+len(l.ReadBps)+len(l.WriteBps)+len(l.ReadIOps)+len(l.WriteIOps) > 0
}

// memory drops what depends on the kernel's configuration or generation.
func (c *checker) memory() {
	l := c.l
	if l.MemorySwap != 0 && !c.offers("memory", "memory.memsw.limit_in_bytes", "memory.swap.max") {
		// A limit of swap that swaps nothing is what the user gets anyway with swap off.
		l.MemorySwap = 0
		c.drop("--memory-swap", "this kernel does not account for swap")
	}
	if c.h.Version == V2 && l.Swappiness != nil {
		if *l.Swappiness >= 0 {
			c.drop("--memory-swappiness", "cgroup v2 has no such setting")
		}
		l.Swappiness = nil
	}
	if c.h.Version == V2 && l.OOMKillDisable {
		l.OOMKillDisable = false
		c.drop("--oom-kill-disable", "cgroup v2 has no such setting")
	}
	if l.OOMKillDisable && l.Memory <= 0 {
		c.warnings = append(c.warnings, "--oom-kill-disable without --memory: the container can take all memory of the host")
	}
}

// blkio drops weights where no i/o scheduler of this kernel knows them.
func (c *checker) blkio() {
	l := c.l
	if l.BlkioWeight != 0 && !c.offers("blkio", "blkio.bfq.weight", "io.bfq.weight") && !c.offers("blkio", "blkio.weight", "io.weight") {
		l.BlkioWeight = 0
		c.drop("--blkio-weight", "this kernel has no weights for block i/o")
	}
	if len(l.WeightDevices) > 0 && !c.offers("blkio", "blkio.bfq.weight_device", "io.bfq.weight") && !c.offers("blkio", "blkio.weight_device", "io.weight") {
		l.WeightDevices = nil
		c.drop("--blkio-weight-device", "this kernel has no weights for block i/o")
	}
}

// offers reports whether groups have the control file. A root group lacks many,
// so the parent of containers is made to look there.
func (c *checker) offers(controller, v1, v2 string) bool {
	file := v1
	if c.h.Version == V2 {
		file = v2
	}
	tree := c.h.tree(controller)
	if tree == nil {
		return false
	}
	if exists(tree.dir + "/" + file) {
		return true
	}
	if !c.made {
		c.made = true
		for i := range c.h.trees {
			if err := c.h.makeGroup(&c.h.trees[i], c.parent); err != nil && err != unix.EEXIST {
				return true // not known: Create will tell
			}
		}
		if c.h.Version == V2 {
			_ = c.h.enable(c.parent) // what could not be enabled is found missing below
		}
	}
	return exists(tree.dir + c.parent + "/" + file)
}

// cpusets compares the lists with what the machine has.
func (c *checker) cpusets() error {
	for _, one := range [...]struct{ flag, list, v1, v2 string }{
		{"--cpuset-cpus", c.l.CpusetCpus, "/cpuset.effective_cpus", "/cpuset.cpus.effective"},
		{"--cpuset-mems", c.l.CpusetMems, "/cpuset.effective_mems", "/cpuset.mems.effective"},
	} {
		if one.list == "" {
			continue
		}
		want, err := ParseList(one.list)
		if err != nil {
			return refuse(one.flag, "%w", err).WithHint("write numbers and ranges, as in 0-2,4")
		}
		file := one.v1
		if c.h.Version == V2 {
			file = one.v2
		}
		b, err := read(c.h.tree("cpuset").dir+file, make([]byte, 0, 256))
		if err != nil {
			continue // not known: the kernel will tell
		}
		available := strings.TrimSpace(string(b))
		have, err := ParseList(available)
		if err != nil {
			continue
		}
		for i := range want {
			if want[i] && (i >= len(have) || !have[i]) {
				return refuse(one.flag, "%s is not available; %s is", one.list, available)
			}
		}
	}
	return nil
}
