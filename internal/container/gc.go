package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

// GC removes what killed processes left: containers half made or half removed,
// names without a container or left by a rename, and run-time files of
// containers that are gone. It returns the ids of the containers it finished
// removing, whose layers and networks are for the caller to give back.
// Containers that somebody is working on are left alone.
func (s *Store) GC() (removed []string, err error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, id := range ids {
		if s.exists(id) {
			continue
		}
		done, err := s.reclaimHalf(id)
		if done {
			removed = append(removed, id)
		}
		errs = append(errs, err)
	}
	return removed, errors.Join(append(errs, s.reclaimNames(), s.reclaimStateDirs())...)
}

func (s *Store) reclaimHalf(id string) (bool, error) {
	lk, err := s.tryLock(id)
	if errors.Is(err, errLocked) || errors.Is(err, errdefs.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer lk.release()
	if s.exists(id) {
		return false, nil
	}
	return true, s.reclaim(id, s.nameOf(id))
}

func (s *Store) reclaimNames() error {
	entries, err := os.ReadDir(filepath.Join(s.root, namesDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		owner, err := s.lookup(e.Name())
		if err != nil {
			continue
		}
		if s.exists(owner) {
			errs = append(errs, s.dropOldName(e.Name(), owner))
			continue
		}
		_, err = s.reclaimName(e.Name(), owner)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// dropOldName frees a name that a container no longer bears.
func (s *Store) dropOldName(name, owner string) error {
	if st, err := s.reread(owner); err != nil || st.Name == name {
		return nil
	}
	lk, err := s.tryLock(owner)
	if err != nil {
		return nil // at work, or gone
	}
	defer lk.release()
	st, err := s.readState(lk.dir, owner, nil)
	if err != nil || st.Name == name {
		return nil
	}
	return s.release(name, owner)
}

func (s *Store) reclaimStateDirs() error {
	entries, err := os.ReadDir(s.state)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		if id := e.Name(); ident.Valid(id) && !pathExists(s.Dir(id)) {
			errs = append(errs, os.RemoveAll(s.StateDir(id)))
		}
	}
	return errors.Join(errs...)
}

func pathExists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
