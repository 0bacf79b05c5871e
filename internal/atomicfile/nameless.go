package atomicfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Nameless returns a new file that no directory lists, on the file system of
// dir, for reading and writing. It ends with its descriptor, so a killed process
// leaves nothing of it (open(2), O_TMPFILE).
func Nameless(dir string) (*os.File, error) {
	f, err := os.OpenFile(dir, os.O_RDWR|unix.O_TMPFILE, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return f, err
	}
	// Not every file system can (overlay before 6.3): the name lives for a moment.
	f, err = os.CreateTemp(dir, ".nameless-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
