package archive

import (
	"os"

	"golang.org/x/sys/unix"
)

// RootChanged reports whether a layer changed the mode or owner of the root
// directory of what it lies on. Only then is the root an entry of the layer
// (DiffOptions.Root): Docker never writes one, and an image should not depend on
// who made it. A nil below is what a base layer lies on: a root of mode 0755.
func RootChanged(upper, below *os.File) (bool, error) {
	var now unix.Stat_t
	was := unix.Stat_t{Mode: unix.S_IFDIR | 0o755}
	if err := unix.Fstat(int(upper.Fd()), &now); err != nil {
		return false, &os.PathError{Op: "fstat", Path: upper.Name(), Err: err}
	}
	if below != nil {
		if err := unix.Fstat(int(below.Fd()), &was); err != nil {
			return false, &os.PathError{Op: "fstat", Path: below.Name(), Err: err}
		}
	}
	return now.Mode != was.Mode || now.Uid != was.Uid || now.Gid != was.Gid, nil
}
