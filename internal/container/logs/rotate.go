package logs

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// newSuffix names the next file until it takes its place.
const newSuffix = ".new"

// rotate begins a new file. The oldest goes first, which makes room on a full
// disk. The name of the log is never without a file: the full one gets its
// number as a second name before the new one is renamed over the first.
func (w *Writer) rotate() error {
	for n := max(w.files-1, 1); ; n++ {
		if err := os.Remove(w.numbered(n)); err != nil {
			break // there are no more, or none can be removed: then there is no room, and open says so
		}
	}
	fd, err := unix.Open(w.path+newSuffix, unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC|unix.O_APPEND|unix.O_CLOEXEC, filePerm)
	if err != nil {
		return &os.PathError{Op: "open", Path: w.path + newSuffix, Err: err}
	}
	if err := w.shift(); err != nil {
		unix.Close(fd)
		return err
	}
	unix.Close(w.fd)
	w.fd, w.size = fd, 0
	return nil
}

// shift gives every file the next number and the new file the name.
func (w *Writer) shift() error {
	for n := w.files - 1; n > 1; n-- {
		if err := os.Rename(w.numbered(n-1), w.numbered(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if w.files > 1 {
		if err := os.Link(w.path, w.numbered(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(w.path+newSuffix, w.path)
}

func (w *Writer) numbered(n int) string { return w.path + "." + strconv.Itoa(n) }
