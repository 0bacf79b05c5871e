package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

// openPlain opens a file that is handed on to another process. os.OpenFile
// would make it non-blocking and register it for polling, and undo both when
// its descriptor is asked for: five system calls more for each file.
func openPlain(path string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), path), nil
		case unix.EINTR:
			continue
		}
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
}
