package seccomp

import (
	"berth/internal/linux/capability"

	"golang.org/x/sys/unix"
)

// newNamespaces are the clone(2) flags that make namespaces. CLONE_NEWTIME is
// not among them: clone(2) has no room for it.
const newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

// sysSocket is the first argument of socketcall(2) that means socket(2) (linux/net.h).
const sysSocket = 1

// The execution domains of personality(2) that a container may choose: Linux,
// 32-bit Linux, each also with the old uname, and the question which one it is.
const (
	perLinux32 = 0x8
	uname26    = 0x20000
	perAsk     = 0xffffffff
)

// without is an action of constants only, so that the rules below are data.
const without = errnoAction | Action(unix.ENOSYS)

// defaultRules are Docker 29's, with one difference. The kernel of an i386
// program takes socket calls in two ways: one call each, which the filter can
// judge, and socketcall(2), whose arguments lie in memory where no filter can
// read them. Docker allows that one, and with it every address family.
//
// Here socketcall refuses to make sockets (its other operations are allowed)
// with ENOSYS. musl, and whatever else tries the direct call first, does not
// notice. A 32-bit glibc or Go program on AMD64 makes no direct call: it gets
// no sockets unless its container is started with a profile that allows
// socketcall. Containers of 64-bit programs lose nothing.
var defaultRules = [...]Rule{
	{Names: allowed, Action: Allow},
	{Names: "socket", Action: Allow, Args: socketFamilies},
	{Names: "socketcall", Action: without, Args: []Arg{{Op: Equal, Value: sysSocket}}},
	{Names: "socketcall", Action: Allow, Args: []Arg{{Op: NotEqual, Value: sysSocket}}},
	{Names: "personality", Action: Allow, Args: []Arg{{Value: 0}, {Value: perLinux32}, {Value: uname26}, {Value: uname26 | perLinux32}, {Value: perAsk}}},
	// Before Linux 4.8 ptrace could be used to get past the filter.
	{Names: "process_vm_readv process_vm_writev ptrace", Action: Allow, When: Condition{MinKernel: Version{4, 8}}},

	{Names: "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls", Action: Allow,
		When: Condition{arches: 1<<ARM | 1<<ARM64}},
	{Names: "arch_prctl", Action: Allow, When: Condition{arches: 1<<AMD64 | 1<<X32}},
	{Names: "modify_ldt", Action: Allow, When: Condition{arches: 1<<AMD64 | 1<<X32 | 1<<I386}},

	// What a capability is good for is allowed to those who have it.
	{Names: "open_by_handle_at", Action: Allow, When: Condition{Caps: capability.DACReadSearch}},
	{Names: "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules " +
		"lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname " +
		"setns syslog umount umount2 unshare", Action: Allow, When: Condition{Caps: capability.SysAdmin}},
	{Names: "clone", Action: Allow, Args: []Arg{{Op: MaskedEqual, Value: newNamespaces}}, Unless: Condition{Caps: capability.SysAdmin}},
	// The flags of clone3 lie in memory; without it libc takes clone.
	{Names: "clone3", Action: without, Unless: Condition{Caps: capability.SysAdmin}},
	{Names: "reboot", Action: Allow, When: Condition{Caps: capability.SysBoot}},
	{Names: "chroot", Action: Allow, When: Condition{Caps: capability.SysChroot}},
	{Names: "delete_module init_module finit_module", Action: Allow, When: Condition{Caps: capability.SysModule}},
	{Names: "acct", Action: Allow, When: Condition{Caps: capability.SysPacct}},
	{Names: "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace", Action: Allow, When: Condition{Caps: capability.SysPtrace}},
	{Names: "iopl ioperm", Action: Allow, When: Condition{Caps: capability.SysRawIO}},
	{Names: "settimeofday stime clock_settime clock_settime64", Action: Allow, When: Condition{Caps: capability.SysTime}},
	{Names: "vhangup", Action: Allow, When: Condition{Caps: capability.SysTTYConfig}},
	{Names: "get_mempolicy mbind set_mempolicy set_mempolicy_home_node", Action: Allow, When: Condition{Caps: capability.SysNice}},
	{Names: "syslog", Action: Allow, When: Condition{Caps: capability.Syslog}},
	{Names: "bpf", Action: Allow, When: Condition{Caps: capability.BPF}},
	{Names: "perf_event_open", Action: Allow, When: Condition{Caps: capability.Perfmon}},
}

// DefaultProfile is the profile of a container that asks for none.
func DefaultProfile() *Profile {
	return &Profile{
		Default: Errno(unix.EPERM),
		Rules:   defaultRules[:],
		sub:     [numArches]archSet{AMD64: AMD64.family(), ARM64: ARM64.family()},
	}
}

// Default returns the default filter for a container whose bounding set is caps.
// Only few capabilities matter to the filter; for a container that has none of
// them, or just CAP_SYS_CHROOT as by default, it is at hand, else it is compiled.
func Default(caps capability.Set) (Filter, error) {
	switch caps & weighed() {
	case capability.SysChroot:
		return Filter(precompiled), nil
	case 0:
		return Filter(precompiledNoChroot), nil
	}
	t := Target{Arch: native, Caps: caps, Kernel: OldestKernel()}
	return Compile(DefaultProfile(), t)
}

// weighed returns the capabilities that the default rules ask about.
func weighed() (s capability.Set) {
	for i := range defaultRules {
		s |= defaultRules[i].When.Caps | defaultRules[i].Unless.Caps
	}
	return s
}
