// Package capability provides sets of Linux capabilities: the pieces into which
// the power of root is cut (capabilities(7)).
//
// A process of a container may be root and yet unable to load a kernel module
// or set the clock, because each of these needs a capability of its own and the
// engine has taken most of them away. A Set is one bit per capability, as the
// kernel keeps it. Which capabilities a container has by default, and what
// --cap-add and --cap-drop make of that, is decided here; the child that becomes
// the container applies the result (capset(2), PR_CAPBSET_DROP).
package capability

import (
	"math/bits"
	"slices"
	"strings"

	"berth/internal/errdefs"
)

// Set is a set of capabilities: bit n is the capability of number n.
type Set uint64

// The capabilities, numbered as in linux/capability.h. The last one came with Linux 5.9.
const (
	Chown Set = 1 << iota
	DACOverride
	DACReadSearch
	FOwner
	FSetID
	Kill
	SetGID
	SetUID
	SetPCap
	LinuxImmutable
	NetBindService
	NetBroadcast
	NetAdmin
	NetRaw
	IPCLock
	IPCOwner
	SysModule
	SysRawIO
	SysChroot
	SysPtrace
	SysPacct
	SysAdmin
	SysBoot
	SysNice
	SysResource
	SysTime
	SysTTYConfig
	Mknod
	Lease
	AuditWrite
	AuditControl
	SetFCap
	MACOverride
	MACAdmin
	Syslog
	WakeAlarm
	BlockSuspend
	AuditRead
	Perfmon
	BPF
	CheckpointRestore
)

// lastKnown is the number of the newest capability that has a name here.
const lastKnown = 40

// names are the capabilities by number, without their prefix.
var names = [lastKnown + 1]string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// Prefix stands before every capability's name in the kernel's headers and in OCI documents.
const Prefix = "CAP_"

// Known is every capability that has a name here.
func Known() Set { return 1<<(lastKnown+1) - 1 }

// Default is what a container starts with: enough to install packages, change
// users and bind low ports. Docker's default has three more, see DockerDefault.
func Default() Set {
	return Chown | DACOverride | FSetID | FOwner | SetGID | SetUID | SetFCap | SetPCap | NetBindService | SysChroot | Kill
}

// DockerDefault is Default and what Docker grants besides: making device nodes,
// raw sockets (which can forge packets on a shared bridge) and writing to the
// host's audit log.
func DockerDefault() Set { return Default() | Mknod | NetRaw | AuditWrite }

// Parse returns the capability of that name: any case, with or without the
// prefix CAP_. The word ALL is none; see Adjust.
func Parse(name string) (Set, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), Prefix)
	for n, have := range &names {
		if have == short {
			return 1 << n, nil
		}
	}
	return 0, errdefs.New(errdefs.InvalidArgument, "unknown capability: %q", name).
		WithHint("capabilities(7) lists them; ALL means every one")
}

// ParseAll returns the set of all the named capabilities, as an OCI document lists them.
func ParseAll(list []string) (Set, error) {
	var s Set
	for _, name := range list {
		one, err := Parse(name)
		if err != nil {
			return 0, err
		}
		s |= one
	}
	return s, nil
}

// Has reports whether s has all of t.
func (s Set) Has(t Set) bool { return s&t == t }

// Len returns the number of capabilities in s.
func (s Set) Len() int { return bits.OnesCount64(uint64(s)) }

// Names returns the set's capabilities with their prefix, sorted, as inspect
// and OCI documents show them. Bits without a name are left out.
func (s Set) Names() []string {
	list := make([]string, 0, s.Len())
	for n, name := range &names {
		if s&(1<<n) != 0 {
			list = append(list, Prefix+name)
		}
	}
	slices.Sort(list)
	return list
}

// String returns the names without prefix, separated by blanks.
func (s Set) String() string {
	return strings.ReplaceAll(strings.Join(s.Names(), " "), Prefix, "")
}
