package probe

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// exists reports whether there is something at path.
func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// content returns a small file of the kernel's without its newline, or "".
func content(path string) string {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var b [64]byte
	n, err := unix.Read(fd, b[:])
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b[:n]))
}

// CgroupKill: a v2 cgroup killed by one write (Linux 5.14).
func (k *Kernel) CgroupKill() bool {
	return k.cgroupKill.get(func() bool { return groupsHave("cgroup.kill") })
}

// SwapLimit: memory and swap of a cgroup limited together (a kernel option, and
// swapaccount=1 on old kernels).
func (k *Kernel) SwapLimit() bool {
	return k.swapLimit.get(func() bool {
		return exists("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes") || groupsHave("memory.swap.max")
	})
}

// groupsHave reports whether a v2 cgroup has a file. The root group lacks most
// of them, so those below it are looked at.
func groupsHave(file string) bool {
	for _, root := range [...]string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if !exists(root + "/cgroup.controllers") {
			continue
		}
		entries, err := os.ReadDir(root)
		if err != nil {
			return false
		}
		for _, e := range entries {
			if e.IsDir() && exists(root+"/"+e.Name()+"/"+file) {
				return true
			}
		}
	}
	return false
}
