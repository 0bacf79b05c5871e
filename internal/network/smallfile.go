package network

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// The files here are small and on the path of every start: they are read and
// written with three system calls, where package os needs six.

// readSmall reads a file of at most 64 KiB.
func readSmall(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	for b := make([]byte, 4<<10); ; b = make([]byte, 64<<10) {
		n, err := unix.Pread(fd, b, 0)
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n < len(b) || len(b) == 64<<10 {
			return b[:n], nil
		}
	}
}

// sysctl writes a file below /proc/sys/net, which is that of the calling
// thread's network namespace. A kernel without the setting is no error.
func sysctl(name, value string) error {
	path := "/proc/sys/net/" + name
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(value)); err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// A reservation is a symbolic link that leads to its owner's id: symlink(2)
// makes name and content in one step, and fails if the name is taken, so that
// no death leaves a reservation without an owner.

// reserve makes a reservation; the error is fs.ErrExist if it is taken.
func reserve(path, id string) error { return os.Symlink(id, path) }

// owner returns whose reservation it is, "" if it is none.
func owner(path string) string {
	id, err := os.Readlink(path)
	if err != nil {
		return ""
	}
	return id
}

// unreserve removes a reservation if it is the owner's.
func unreserve(path, id string) error {
	if owner(path) != id {
		return nil
	}
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
