package seccomp

import (
	"unsafe"

	"berth/internal/errdefs"

	"golang.org/x/sys/unix"
)

// Install puts the calling thread under the filter, for good; with
// SECCOMP_FILTER_FLAG_TSYNC in flags, every thread of the process.
//
// Preconditions: the thread has no_new_privs or CAP_SYS_ADMIN; without TSYNC it
// is locked (runtime.LockOSThread) and never unlocked.
func Install(f Filter, flags uintptr) error {
	prog := Fprog(f.Instructions())
	r, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	switch {
	case errno == unix.EACCES:
		return (&errdefs.Error{Kind: errdefs.Forbidden, Op: "install", Subject: "the seccomp filter", Err: errno}).
			WithHint("set no_new_privs, or run as root with CAP_SYS_ADMIN")
	case errno != 0:
		return errdefs.Wrap(errno, "install", "the seccomp filter")
	case r != 0: // TSYNC: the id of a thread that cannot follow
		return errdefs.New(errdefs.Conflict, "cannot install the seccomp filter: thread %d has a filter of its own", r)
	}
	return nil
}
