package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/buildinfo"
	"berth/internal/container"
	"berth/internal/container/idpool"
	"berth/internal/errdefs"
	"berth/internal/linux/cgroup"
	"berth/internal/linux/probe"
	"berth/internal/runtime/bootstrap"
)

// Info is what `berth info` tells of the host and the engine. JSON names are Docker's where Docker has the field.
type Info struct {
	ID                string
	Containers        int
	ContainersRunning int
	ContainersPaused  int
	ContainersStopped int
	Images            int
	Driver            string
	DriverStatus      [][2]string
	DockerRootDir     string
	StateRoot         string
	CgroupDriver      string
	CgroupVersion     string
	KernelVersion     string
	OperatingSystem   string
	OSType            string
	Architecture      string
	NCPU              int
	MemTotal          int64
	Name              string
	ServerVersion     string
	SecurityOptions   []string
	LoggingDriver     string
	DefaultRuntime    string
	InitBinary        string
	MemoryLimit       bool
	SwapLimit         bool
	CPUCfsPeriod      bool `json:"CpuCfsPeriod"`
	CPUCfsQuota       bool `json:"CpuCfsQuota"`
	CPUShares         bool
	CPUSet            bool
	PidsLimit         bool
	IPv4Forwarding    bool
	UserNamespaceIDs  string      // what --userns auto gives out, and how much of it is taken
	Features          [][2]string // optional kernel features: name, "yes" or what is used instead
	Warnings          []string
}

// Info describes the host and the engine. It tells what it can: a store or a
// kernel file that cannot be read becomes a warning.
func (s *System) Info(ctx context.Context) (*Info, error) {
	s.e.reconcile(ctx)
	i := &Info{
		Driver: "overlay2", DockerRootDir: s.e.opt.DataRoot, StateRoot: s.e.opt.StateRoot, OSType: "linux", NCPU: runtime.NumCPU(),
		ServerVersion: buildinfo.Version, LoggingDriver: "json-file", DefaultRuntime: "berth", InitBinary: bootstrap.InitArg,
	}
	if err := i.host(); err != nil {
		return nil, err
	}
	i.ID = engineID(i.DockerRootDir)
	var k probe.Kernel
	i.storage(&k)
	i.security(&k)
	i.cgroups(s.e.cgroups, &k)
	i.network()
	if states, err := s.e.store.States(); err != nil {
		i.warn("the containers cannot be counted: %v", err)
	} else {
		i.count(states)
	}
	if images, err := s.e.images.List(); err != nil {
		i.warn("the images cannot be counted: %v", err)
	} else {
		i.Images = len(images)
	}
	if ids, taken, err := s.e.ids.Describe(); err != nil {
		i.warn("--userns auto does not work: %v", err)
	} else {
		i.UserNamespaceIDs = fmt.Sprintf("%s, %d each, given to %d containers", ids, idpool.Size, taken)
	}
	for _, f := range k.Features() {
		i.Features = append(i.Features, [2]string{f.Name, f.String()})
	}
	return i, nil
}

func (i *Info) warn(format string, args ...any) {
	i.Warnings = append(i.Warnings, "WARNING: "+fmt.Sprintf(format, args...))
}

// host fills what uname(2) and sysinfo(2) know.
func (i *Info) host() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return errdefs.Wrap(os.NewSyscallError("uname", err), "describe", "the host")
	}
	i.KernelVersion, i.Architecture = unix.ByteSliceToString(u.Release[:]), unix.ByteSliceToString(u.Machine[:])
	i.Name = unix.ByteSliceToString(u.Nodename[:])
	var mem unix.Sysinfo_t
	if err := unix.Sysinfo(&mem); err != nil {
		return errdefs.Wrap(os.NewSyscallError("sysinfo", err), "describe", "the host")
	}
	i.MemTotal = int64(mem.Totalram) * int64(mem.Unit) //nolint:unconvert // the type differs between architectures
	i.OperatingSystem = operatingSystem()
	return nil
}

// operatingSystem returns PRETTY_NAME of os-release(5).
func operatingSystem() string {
	for _, path := range [...]string{"/etc/os-release", "/usr/lib/os-release"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(line, "PRETTY_NAME="); ok {
				return strings.Trim(strings.TrimSpace(v), `"'`)
			}
		}
	}
	return "Linux"
}

// engineID names this data root on this machine: always the same, and in the
// form of Docker's. machine-id(5) asks not to show the machine's id itself.
func engineID(dataRoot string) string {
	machine, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		machine, _ = os.ReadFile("/var/lib/dbus/machine-id") // without either the root alone must do
	}
	h := sha256.Sum256(append([]byte("berth\x00"+dataRoot+"\x00"), machine...))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80 // RFC 9562: version 8, of our own making
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// count sorts containers as Docker does: what is restarting counts as running,
// and what neither runs nor is paused as stopped.
func (i *Info) count(states []container.State) {
	i.Containers = len(states)
	for _, st := range states {
		switch st.Status {
		case container.Running, container.Restarting:
			i.ContainersRunning++
		case container.Paused:
			i.ContainersPaused++
		default:
			i.ContainersStopped++
		}
	}
}

func (i *Info) storage(k *probe.Kernel) {
	i.DriverStatus = [][2]string{
		{"Backing Filesystem", backingFilesystem(i.DockerRootDir)},
		{"Supports d_type", "true"}, // overlay has refused anything else since Linux 4.5
		{"Using metacopy", "false"},
		{"Native Overlay Diff", "true"},
		{"userxattr", "false"},
	}
	if !k.Overlay() {
		i.warn("this kernel has no overlay file system: images cannot be run")
	}
}

// backingFilesystem names the file system of a directory that may not exist yet.
func backingFilesystem(dir string) string {
	var st unix.Statfs_t
	for unix.Statfs(dir, &st) != nil {
		parent := dir[:max(strings.LastIndexByte(dir, '/'), 0)]
		if parent == "" {
			parent = "/"
		}
		if parent == dir {
			return "<unknown>"
		}
		dir = parent
	}
	switch uint32(st.Type) { //nolint:unconvert // the type differs between architectures
	case unix.EXT4_SUPER_MAGIC:
		return "extfs" // the name that Docker gives ext2 to ext4
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("%#x", uint32(st.Type))
}

func (i *Info) security(k *probe.Kernel) {
	if k.AppArmor() {
		i.SecurityOptions = append(i.SecurityOptions, "name=apparmor")
	}
	if k.Seccomp() {
		i.SecurityOptions = append(i.SecurityOptions, "name=seccomp,profile=builtin")
	} else {
		i.warn("this kernel has no seccomp filters: containers run with --security-opt seccomp=unconfined only")
	}
	if k.SELinux() {
		i.SecurityOptions = append(i.SecurityOptions, "name=selinux")
	}
	if os.Geteuid() != 0 {
		i.SecurityOptions = append(i.SecurityOptions, "name=rootless")
	}
	i.SecurityOptions = append(i.SecurityOptions, "name=cgroupns")
}

// cgroups fills which limits work here; the warnings are Docker's.
func (i *Info) cgroups(detect func() (*cgroup.Host, error), k *probe.Kernel) {
	i.CgroupDriver = "none"
	host, err := detect()
	if err != nil {
		i.warn("no limits: %v", err)
		return
	}
	i.CgroupDriver, i.CgroupVersion = "cgroupfs", "1"
	if host.Version == cgroup.V2 {
		i.CgroupVersion = "2"
	}
	offered := host.Controllers()
	cpu := slices.Contains(offered, "cpu")
	i.CPUShares, i.CPUCfsPeriod, i.CPUCfsQuota = cpu, cpu, cpu
	i.MemoryLimit, i.CPUSet = slices.Contains(offered, "memory"), slices.Contains(offered, "cpuset")
	i.PidsLimit = slices.Contains(offered, "pids")
	i.SwapLimit = i.MemoryLimit && k.SwapLimit()
	for _, w := range [...]struct {
		works bool
		what  string
	}{
		{i.MemoryLimit, "memory limit"}, {i.SwapLimit, "swap limit"}, {i.CPUCfsPeriod, "cpu cfs period"}, {i.CPUCfsQuota, "cpu cfs quota"},
		{i.CPUShares, "cpu shares"}, {i.CPUSet, "cpuset"}, {i.PidsLimit, "pids limit"},
	} {
		if !w.works {
			i.warn("No %s support", w.what)
		}
	}
}

// network tells whether packets are passed on now; the first container on a
// bridge switches that on.
func (i *Info) network() {
	forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	i.IPv4Forwarding = err == nil && strings.TrimSpace(string(forward)) == "1"
}
