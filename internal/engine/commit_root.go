package engine

import (
	"os"

	"golang.org/x/sys/unix"
)

// rootChanged reports whether the container changed the mode or owner of its
// root directory. Only then is the root an entry of the layer: Docker never
// writes one, and an image should not depend on who made it.
func rootChanged(upper, image *os.File) (bool, error) {
	var now, was unix.Stat_t
	if err := unix.Fstat(int(upper.Fd()), &now); err != nil {
		return false, &os.PathError{Op: "fstat", Path: upper.Name(), Err: err}
	}
	if err := unix.Fstat(int(image.Fd()), &was); err != nil {
		return false, &os.PathError{Op: "fstat", Path: image.Name(), Err: err}
	}
	return now.Mode != was.Mode || now.Uid != was.Uid || now.Gid != was.Gid, nil
}
