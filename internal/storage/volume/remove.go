package volume

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/rootpath"
)

// Remove deletes a volume, whoever uses it.
func (s *Store) Remove(name string) error {
	return s.RemoveUnused(name, func() ([]string, error) { return nil, nil })
}

// RemoveUnused deletes a volume unless users, asked while nobody can begin to
// use it, returns any: then it is a Conflict that names them. The renaming is
// the step that counts: it is instant and needs no room on the disk.
func (s *Store) RemoveUnused(name string, users func() ([]string, error)) error {
	if _, err := s.Get(name); err != nil {
		return err
	}
	lock, err := s.lock(name)
	if err != nil {
		return err
	}
	defer lock.Unlock()
	by, err := users()
	if err != nil {
		return errdefs.Wrap(err, "remove", "volume "+name)
	}
	if len(by) > 0 {
		return errdefs.New(errdefs.Conflict, "remove %s: volume is in use - [%s]", name, strings.Join(by, ", ")).
			WithHint("remove what uses it first: berth rm %s", strings.Join(by, " "))
	}
	gone := trash + ident.NewLink()
	if err := os.Rename(filepath.Join(s.root, name), filepath.Join(s.root, gone)); err != nil {
		return errdefs.Wrap(err, "remove", "volume "+name)
	}
	return errdefs.Wrap(s.discard(gone), "remove", "volume "+name)
}

// discard deletes files that containers made: in any depth and of any kind.
func (s *Store) discard(name string) error {
	return rootpath.RemoveAll(unix.AT_FDCWD, filepath.Join(s.root, name))
}

// GC deletes what an interrupted Remove left.
func (s *Store) GC() error {
	entries, err := os.ReadDir(s.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), trash) {
			errs = append(errs, s.discard(e.Name()))
		}
	}
	return errors.Join(errs...)
}
