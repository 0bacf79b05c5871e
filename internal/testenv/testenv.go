// Package testenv gives tests surroundings of their own, for what only root may
// do and the machine should not notice.
//
// A namespace belongs to a thread: one that unshare(2) has taken out of the
// machine's namespaces ends with its test, and everything in them with it.
package testenv

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// InNamespace runs f on a thread in new namespaces: unix.CLONE_NEWNET, or
// unix.CLONE_NEWNS in which no mount reaches the outside. f must not start
// goroutines that rely on it. Without root the test is skipped.
func InNamespace(t *testing.T, flags int, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making namespaces needs root")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread must not be used again
		if err := unix.Unshare(flags); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if flags&unix.CLONE_NEWNS != 0 {
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				t.Errorf("make private: %v", err)
				return
			}
		}
		f()
	}()
	<-done
}
