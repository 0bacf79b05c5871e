package engine

import (
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/linux/userns"
)

// giveStdio makes the ends of pipes that the program gets its user's: else it
// could not open /dev/stdout (an open goes through the permissions of the pipe
// again, see proc_pid_fd(5)), as this process's user owns what it makes. uid is
// the container's; ids is nil without a user namespace.
func giveStdio(ids *userns.Range, uid uint32, pipes ...*os.File) error {
	owner, group := uid, uint32(0)
	if ids != nil {
		var err error
		if owner, group, err = ids.Host(uid, 0); err != nil {
			return err
		}
	}
	if owner == 0 {
		return nil
	}
	for _, p := range pipes {
		if err := unix.Fchown(int(p.Fd()), int(owner), int(group)); err != nil {
			return &os.PathError{Op: "chown", Path: p.Name(), Err: err}
		}
	}
	return nil
}
