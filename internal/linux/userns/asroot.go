package userns

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// AsRoot runs f with the container's root as this thread's user for files
// (setfsuid(2)), and with the capabilities as they are: the kernel takes some
// away with the change, and they are put back. In a mount with the range's map
// nobody else can make a file: the host's root has no id there.
//
// Preconditions: the thread is locked, CAP_SETUID and CAP_SETGID.
func (r Range) AsRoot(f func() error) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var held [2]unix.CapUserData // version 3 has two words of each set
	if err := unix.Capget(&header, &held[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	// These calls tell no errors: they return what was before.
	gid, _ := unix.SetfsgidRetGid(int(r.GID))
	uid, _ := unix.SetfsuidRetUid(int(r.UID))
	err := os.NewSyscallError("capset", unix.Capset(&header, &held[0]))
	if err == nil {
		err = f()
	}
	unix.SetfsuidRetUid(uid)
	unix.SetfsgidRetGid(gid)
	return errors.Join(err, os.NewSyscallError("capset", unix.Capset(&header, &held[0])))
}
