package catalog

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncIfElsewhere syncs the file system of dir unless it is that of other.
func syncIfElsewhere(dir, other string) error {
	var a, b unix.Stat_t
	if err := unix.Stat(dir, &a); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := unix.Stat(other, &b); err != nil {
		return &os.PathError{Op: "stat", Path: other, Err: err}
	}
	if a.Dev == b.Dev {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}
