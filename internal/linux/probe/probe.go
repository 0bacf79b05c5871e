// Package probe asks the running kernel which optional features it has.
//
// berth runs on kernels of many years, in virtual machines, in other people's
// containers and under sandboxes that forbid single calls. A version number
// does not tell what works there (distributions carry features back, sandboxes
// take them away), so each feature is asked for itself, with a call that either
// fails in a way only a kernel with the feature fails in, or has no effect.
//
// A Kernel asks each question once, when it is first needed: `berth info` asks
// them all, a `run` none or one. Most cost a single system call.
package probe

import (
	"math"
	"strconv"
	"strings"
	"sync"

	"berth/internal/linux/capability"
	"berth/internal/linux/landlock"

	"golang.org/x/sys/unix"
)

// Kernel remembers the answers of the running kernel. The zero value knows
// nothing yet. It must not be copied, and may be used by several goroutines.
type Kernel struct {
	fsopen, openTree, mountSetattr, idmap       answer
	overlay, overlayContext, volatile, xattr    answer
	openat2, clone3, intoCgroup, pidfd, closeRg answer
	timeNS, userNS, cgroupKill, seccomp         answer
	apparmor, selinux, resource, swapLimit      answer

	landlockOnce sync.Once
	landlockABI  int
}

// answer is a yes or no that is found once.
type answer struct {
	once sync.Once
	yes  bool
}

func (a *answer) get(ask func() bool) bool {
	a.once.Do(func() { a.yes = ask() })
	return a.yes
}

// knows reports whether a call made with nonsense failed as a kernel that has
// it lets it fail. ENOSYS is a kernel without it, or a sandbox; EPERM is a
// sandbox, or the lack of a capability that berth will have where it makes the call.
func knows(err error, privileged bool) bool {
	return err != unix.ENOSYS && (err != unix.EPERM || !privileged)
}

// call makes a call with numbers only.
func call(nr uintptr, a, b, c, d uintptr) error {
	_, _, errno := unix.Syscall6(nr, a, b, c, d, 0, 0)
	if errno == 0 {
		return nil
	}
	return errno
}

// minusOne is an invalid descriptor, process or flag word.
const minusOne = ^uintptr(0)

func admin() bool {
	held, err := capability.Held()
	return err == nil && held.Has(capability.SysAdmin)
}

// MountAPI: file systems made and placed by descriptor (fsopen, fsmount,
// move_mount; Linux 5.2).
func (k *Kernel) MountAPI() bool {
	return k.fsopen.get(func() bool { return knows(call(unix.SYS_FSOPEN, 0, minusOne, 0, 0), admin()) })
}

// OpenTree: copies of mounts by descriptor (Linux 5.2).
func (k *Kernel) OpenTree() bool {
	return k.openTree.get(func() bool { return knows(call(unix.SYS_OPEN_TREE, minusOne, 0, minusOne, 0), admin()) })
}

// MountSetattr: flags of a whole tree of mounts changed at once (Linux 5.12).
func (k *Kernel) MountSetattr() bool {
	return k.mountSetattr.get(func() bool { return knows(call(unix.SYS_MOUNT_SETATTR, minusOne, 0, minusOne, 0), admin()) })
}

// IDMappedMounts: mounts that show other owners than the disk has (Linux 5.12;
// which file systems can be shown so differs from kernel to kernel).
func (k *Kernel) IDMappedMounts() bool {
	return k.idmap.get(func() bool {
		err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: math.MaxInt32})
		return err == unix.EBADF // the flag is known, the descriptor is not
	})
}

// Openat2: paths resolved inside a directory (Linux 5.6).
func (k *Kernel) Openat2() bool {
	return k.openat2.get(func() bool { return knows(call(unix.SYS_OPENAT2, minusOne, 0, 0, 0), true) })
}

// Clone3: a child made with all its namespaces and a descriptor for it (Linux 5.3).
func (k *Kernel) Clone3() bool {
	return k.clone3.get(func() bool { return knows(call(unix.SYS_CLONE3, 0, 0, 0, 0), true) })
}

// CloneIntoCgroup: a child born in its cgroup (Linux 5.7).
func (k *Kernel) CloneIntoCgroup() bool {
	return k.intoCgroup.get(func() bool {
		return k.Clone3() && cloneInto(math.MaxInt32) == unix.EBADF // the flag is known, the descriptor is not
	})
}

// Pidfd: processes held by a descriptor (pidfd_open; Linux 5.3).
func (k *Kernel) Pidfd() bool {
	return k.pidfd.get(func() bool { return knows(call(unix.SYS_PIDFD_OPEN, 0, minusOne, 0, 0), true) })
}

// CloseRange: many descriptors closed by one call (Linux 5.9).
func (k *Kernel) CloseRange() bool {
	return k.closeRg.get(func() bool { return knows(call(unix.SYS_CLOSE_RANGE, 1, 0, 0, 0), true) }) // an empty range
}

// Seccomp: filters that can kill a process (Linux 4.14).
func (k *Kernel) Seccomp() bool { return k.seccomp.get(killAvailable) }

// Landlock returns the version of the Landlock interface, 0 if it cannot be used (Linux 5.13).
func (k *Kernel) Landlock() int {
	k.landlockOnce.Do(func() { k.landlockABI = landlock.ABI() })
	return k.landlockABI
}

// SysResource: whether this process may raise limits above their hard values.
func (k *Kernel) SysResource() bool {
	return k.resource.get(func() bool {
		held, err := capability.Held()
		return err == nil && held.Has(capability.SysResource)
	})
}

// TimeNamespace: containers with a boot clock of their own (Linux 5.6).
func (k *Kernel) TimeNamespace() bool {
	return k.timeNS.get(func() bool { return exists("/proc/self/ns/time_for_children") })
}

// TimeNamespaceAtExec: a new time namespace takes effect at execve (Linux 6.2);
// before, only a child that shares no memory entered it.
func (k *Kernel) TimeNamespaceAtExec() bool { return k.TimeNamespace() && atLeast(6, 2) }

// UserNamespace: whether this process may make one.
func (k *Kernel) UserNamespace() bool {
	return k.userNS.get(func() bool {
		switch {
		case !exists("/proc/self/ns/user"), content("/proc/sys/user/max_user_namespaces") == "0":
			return false
		case admin():
			return true
		}
		// Debian's and Ubuntu's ways to keep them to root.
		return content("/proc/sys/kernel/unprivileged_userns_clone") != "0" &&
			content("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") != "1"
	})
}

// AppArmor: whether profiles are enforced.
func (k *Kernel) AppArmor() bool {
	return k.apparmor.get(func() bool { return content("/sys/module/apparmor/parameters/enabled") == "Y" })
}

// SELinux: whether a policy is loaded.
func (k *Kernel) SELinux() bool {
	return k.selinux.get(func() bool { return exists("/sys/fs/selinux/enforce") })
}

// Release returns the kernel's version, as in "6.1.0-18-amd64".
func Release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// atLeast compares the kernel's version, for the few questions that it alone answers.
func atLeast(major, minor int) bool {
	first, rest, _ := strings.Cut(Release(), ".")
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(rest[:end])
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}
