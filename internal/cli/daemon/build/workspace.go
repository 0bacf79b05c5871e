package build

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
)

// workspace is a directory for what a build needs only while it lasts: unpacked
// contexts, checkouts, sockets. It lies in DATAROOT/build/tmp, beside a file
// that is locked while its build is alive; the next build removes what a killed
// one left.
type workspace struct {
	dir  string
	lock *filelock.Lock
}

const lockSuffix = ".lock"

func newWorkspace(dataRoot string) (*workspace, error) {
	parent := filepath.Join(dataRoot, "build", "tmp")
	w, err := openWorkspace(parent)
	return w, errdefs.Wrap(err, "make", "a directory for the build")
}

func openWorkspace(parent string) (*workspace, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	if err := sweep(parent); err != nil {
		return nil, err
	}
	for {
		w := &workspace{dir: filepath.Join(parent, ident.Short(ident.New()))}
		var err error
		if w.lock, err = filelock.Exclusive(w.dir + lockSuffix); err != nil {
			return nil, err
		}
		// A sweep that came between the file and its lock has removed it again.
		if here, err := w.locked(); err != nil || !here {
			if err = errors.Join(err, w.lock.Unlock()); err != nil {
				return nil, err
			}
			continue
		}
		if err := os.Mkdir(w.dir, 0o700); err != nil {
			return nil, errors.Join(err, w.Close())
		}
		return w, nil
	}
}

// locked reports whether the file that is locked is the one that has the name.
func (w *workspace) locked() (bool, error) {
	ours, err := w.lock.File().Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(w.dir + lockSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, named), err
}

// sweep removes the directories of builds that are dead.
func sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), lockSuffix)
		if !ok {
			continue
		}
		dir := filepath.Join(parent, name)
		l, err := filelock.TryExclusive(dir + lockSuffix)
		if errors.Is(err, filelock.ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		if err := (&workspace{dir, l}).Close(); err != nil {
			return err
		}
	}
	return nil
}

// Close removes the directory.
func (w *workspace) Close() error {
	return errors.Join(os.RemoveAll(w.dir), os.Remove(w.dir+lockSuffix), w.lock.Unlock())
}
