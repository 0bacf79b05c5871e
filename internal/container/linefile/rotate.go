package linefile

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// successor returns the file that follows the present one, if that has been
// rotated away, or nil.
func (r *reader) successor() (*os.File, error) {
	if r.file == nil {
		return openIfThere(r.path)
	}
	const (
		attempts = 20
		pause    = time.Millisecond
	)
	for range attempts {
		next, settled, err := r.findSuccessor()
		if settled || err != nil {
			return next, err
		}
		time.Sleep(pause) // a rotation is going on
	}
	return nil, nil // the next change will bring us here again
}

// findSuccessor looks for the present file among the older ones. settled is
// false if files moved during the search.
func (r *reader) findSuccessor() (next *os.File, settled bool, err error) {
	mine, err := r.file.Stat()
	if err != nil {
		return nil, true, err
	}
	newest, err := os.Stat(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, true, err
	}
	if os.SameFile(mine, newest) {
		if newest.Size() < r.at { // emptied by hand
			r.at = 0
		}
		return nil, true, nil
	}
	place, oldest := place(r.path, mine)
	if place == 0 { // rotated out of existence: the reader was too slow
		place = oldest + 1
	}
	next, err = openIfThere(numbered(r.path, place-1))
	if next == nil || err != nil {
		return nil, false, err
	}
	if again, _ := os.Stat(numbered(r.path, place)); place <= oldest && (again == nil || !os.SameFile(mine, again)) {
		return nil, false, next.Close()
	}
	return next, true, nil
}

// place returns the number under which a file is found, or 0, and the highest number there is.
func place(path string, mine os.FileInfo) (found, oldest int) {
	const mayMiss = 2
	for n, missed := 1, 0; missed < mayMiss; n++ {
		fi, err := os.Stat(numbered(path, n))
		if err != nil {
			missed++
			continue
		}
		missed, oldest = 0, n
		if os.SameFile(mine, fi) {
			return n, oldest
		}
	}
	return 0, oldest
}

func openIfThere(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}
