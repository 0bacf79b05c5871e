package spec

import (
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maskedPaths are hidden from every container that is not privileged: they
// tell about, or reach, the host (side channels by power and interrupts among them).
// A path that the host's kernel does not have is passed over.
func maskedPaths() []string {
	return []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
		"/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux",
	}
}

// readonlyPaths may be read and not written.
func readonlyPaths() []string {
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}

// DefaultEnv is the PATH of a container whose image sets none.
const DefaultEnv = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// systemMounts are the kernel's filesystems that every container has, by
// target. A mount of the user on the same target takes its place.
func systemMounts(shmSize int64, writable bool) []specs.Mount {
	ro := "ro"
	if writable {
		ro = "rw"
	}
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=" + strconv.Itoa(ttyGroup)}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", ro}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", ro}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(shmSize, 10)}},
	}
}

// ttyGroup is the group "tty" of every distribution: it may write to terminals.
const ttyGroup = 5

// DefaultShmSize is the size of /dev/shm in bytes.
const DefaultShmSize = 64 << 20

// DefaultPidsLimit bounds the processes of a container, so that a fork bomb ends at its wall.
const DefaultPidsLimit = 2048

// Default limit of open files. An "infinity" inherited from the host makes
// programs that close or allocate for every possible descriptor slow and huge.
const (
	defaultNofileSoft = 1024
	defaultNofileHard = 524288
)

// networkSysctls are set in a network namespace of the container's own: ping
// without CAP_NET_RAW for every group, and ports below 1024 without
// CAP_NET_BIND_SERVICE, as Docker does.
func networkSysctls() map[string]string {
	return map[string]string{"net.ipv4.ping_group_range": "0 2147483647", "net.ipv4.ip_unprivileged_port_start": "0"}
}
