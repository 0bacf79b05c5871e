// Package landlock confines a process to a few directories, by its own wish.
//
// Landlock (landlock(7), Linux 5.13) lets any process, root or not, give up
// rights to the file system: it lists directories and what may be done below
// them, and from then on everything else is refused by the kernel, to it and to
// all its children, for good. It sees the real directories, not names: symbolic
// links and races lead nowhere.
//
// berth puts workers that read what strangers wrote (layers, archives, build
// contexts) under such rules: if one is tricked out of its directory, as in
// CVE-2024-24557 or the tar escapes before it, the kernel stops it. It is a
// second wall: on a kernel without Landlock the worker runs without.
//
// The kernel's interface has grown by versions ("ABI"). What a version does not
// know is left out, so the rules are as tight as this kernel can make them.
package landlock

import (
	"errors"
	"os"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// Rules say what stays allowed. Paths that do not exist are passed over:
// nothing is to be found below them.
type Rules struct {
	Read  []string // directories and files to read and execute below
	Write []string // directories to do anything in
	// Network keeps TCP connections and the abstract unix sockets and signals of
	// processes outside allowed (ABI 4 and 6).
	Network bool
}

// rights by the ABI that brought them.
const (
	readRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	fileRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	netRights = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	scopes    = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
)

// fsRights returns every right to files that a version of the interface knows.
func fsRights(abi int) uint64 {
	rights := uint64(unix.LANDLOCK_ACCESS_FS_REFER - 1) // ABI 1: all bits below
	if abi >= 2 {
		rights |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		rights |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		rights |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return rights
}

// ABI returns the version of the kernel's interface; 0 if there is none, or if
// it is compiled in and switched off.
func ABI() int {
	v, errno := createRuleset(nil, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return v
}

// Process confines every thread of this process, and returns the ABI by which it
// is done: 0 means that this kernel cannot and nothing has changed. It sets
// no_new_privs: set-uid programs do not gain rights any more. In a program linked
// with cgo it fails with ENOTSUP (berth is not).
func Process(r Rules) (abi int, err error) { return r.apply(restrictProcess) }

// Thread confines the calling thread and what it starts.
//
// Preconditions: the thread is locked (runtime.LockOSThread) and never unlocked.
func Thread(r Rules) (abi int, err error) { return r.apply(restrictThread) }

func (r Rules) apply(restrict func(ruleset int) error) (abi int, err error) {
	if abi = ABI(); abi == 0 {
		return 0, nil
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: fsRights(abi)}
	if abi >= 4 && !r.Network {
		attr.Handled_access_net = netRights
	}
	if abi >= 6 && !r.Network {
		attr.Scoped = scopes
	}
	ruleset, errno := createRuleset(&attr, 0)
	if errno != 0 {
		return 0, errdefs.Wrap(os.NewSyscallError("landlock_create_ruleset", errno), "confine", "this process")
	}
	defer unix.Close(ruleset)
	if err := allow(ruleset, r.Read, readRights); err != nil {
		return 0, err
	}
	if err := allow(ruleset, r.Write, attr.Handled_access_fs); err != nil {
		return 0, err
	}
	if err := restrict(ruleset); err != nil {
		return 0, errdefs.Wrap(err, "confine", "this process")
	}
	return abi, nil
}

// allow grants rights below each path; a path that is no directory gets those
// that make sense for files, the kernel refuses more.
func allow(ruleset int, paths []string, rights uint64) error {
	for _, p := range paths {
		fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return errdefs.Wrap(&os.PathError{Op: "open", Path: p, Err: err}, "allow", p)
		}
		var st unix.Stat_t
		granted := rights
		if err = unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			granted &= fileRights
		}
		if err == nil {
			err = addRule(ruleset, fd, granted)
		}
		unix.Close(fd)
		if err != nil {
			return errdefs.Wrap(&os.PathError{Op: "landlock_add_rule", Path: p, Err: err}, "allow", p)
		}
	}
	return nil
}
