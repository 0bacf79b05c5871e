package systemd

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Holder is a process that does nothing, and so keeps a scope alive while the
// container's first process is not yet born: with a holder in it the scope can
// be made first, and the child cloned right into it as into any other group.
//
// It is a bare fork of this process that reads from a pipe until we close the
// other end or die. It runs no Go and has one thread: even the smallest limits
// have room for it.
type Holder struct {
	PID int
	end *os.File // its closing ends the holder
}

// Hold starts a holder. The caller releases it.
func Hold() (*Holder, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// A handler of the Go runtime must not run in the fork: there all signals
	// stay blocked, but those that cannot be.
	runtime.LockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err != nil {
		runtime.UnlockOSThread()
		w.Close()
		return nil, os.NewSyscallError("pthread_sigmask", err)
	}
	pid, errno := forkAndRead(r.Fd())
	unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	runtime.UnlockOSThread()
	if errno != 0 {
		w.Close()
		return nil, os.NewSyscallError("clone", errno)
	}
	return &Holder{PID: int(pid), end: w}, nil
}

// Release ends the holder and waits for its end. A second call does nothing.
func (h *Holder) Release() error {
	if h.end == nil {
		return nil
	}
	defer func() { h.end = nil }()
	if err := h.end.Close(); err != nil {
		return err
	}
	for {
		if _, err := unix.Wait4(h.PID, nil, 0, nil); err != unix.EINTR {
			return os.NewSyscallError("wait4", err)
		}
	}
}

// forkAndRead forks; the child reads from fd until its end and exits. The child
// has one thread, and a copy of a runtime of which it may use nothing: it makes
// raw system calls on the stack it is on. It keeps no other descriptor, least
// of all the pipe's other end.
//
//go:noinline
//go:nosplit
//go:norace
func forkAndRead(fd uintptr) (pid uintptr, errno syscall.Errno) {
	pid, _, errno = syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return pid, errno
	}
	if fd > 0 {
		syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 0, fd-1, 0)
	}
	syscall.RawSyscall(unix.SYS_CLOSE_RANGE, fd+1, 1<<31, 0)
	var b byte
	for {
		n, _, e := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&b)), 1)
		if n == 0 || e != syscall.EINTR {
			break
		}
	}
	for {
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
}
