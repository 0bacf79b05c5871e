package container

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// maxRandomNames bounds the search for a free name.
const maxRandomNames = 10

// Create stores a new container under rec.State.Name, or under a random name
// that it sets there. rec.State becomes complete: see InitialState for what is
// filled in if rec.State.Status is empty.
//
// The steps are ordered so that the death of the process leaves nothing that
// counts: directory and lock, config.json, the name, and last state.json, whose
// appearance makes the container exist. With Durable it survives the loss of
// power at the price of two syncs: of the configuration's content, and of the
// directory. (The state is not synced; it can be made again from the configuration.)
func (s *Store) Create(rec *Record, d atomicfile.Durability) (err error) {
	if !ident.Valid(rec.ID) {
		return errdefs.New(errdefs.InvalidArgument, "invalid container id: %q", rec.ID)
	}
	if name := rec.State.Name; name != "" {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	lk, err := s.claimDir(rec.ID)
	if err != nil {
		return errdefs.Wrap(noSpace(err), "create container", rec.ID)
	}
	defer lk.release()
	defer func() {
		if err != nil {
			err = errors.Join(err, s.undoCreate(rec))
		}
	}()
	if err := writeConfig(lk.dir, rec, d); err != nil {
		return errdefs.Wrap(noSpace(err), "create container", rec.ID)
	}
	if err := s.takeName(rec); err != nil {
		return err
	}
	err = writeState(lk.dir, &rec.State, atomicfile.Atomic)
	if err == nil && d == atomicfile.Durable {
		err = os.NewSyscallError("fsync", unix.Fsync(lk.dir))
	}
	return errdefs.Wrap(noSpace(err), "create container", rec.ID)
}

// claimDir makes a container's directory and locks it. A GC may come in
// between and take the unlocked directory for a dead one: then again.
func (s *Store) claimDir(id string) (lock, error) {
	const attempts = 1000 // a GC that runs all the time loses this race sooner or later
	for range attempts {
		if err := s.makeDir(id); err != nil {
			return lock{}, err
		}
		lk, err := s.lock(id)
		if errors.Is(err, errdefs.NotFound) {
			continue
		}
		if err != nil {
			return lock{}, err
		}
		var have, at unix.Stat_t
		if unix.Fstat(lk.dir, &have) == nil && unix.Stat(s.Dir(id), &at) == nil && have.Ino == at.Ino {
			return lk, nil
		}
		lk.release()
	}
	return lock{}, errdefs.New(errdefs.Conflict, "%s is removed again and again", s.Dir(id))
}

// makeDir makes a container's directory, and the store's when it is the first.
func (s *Store) makeDir(id string) error {
	err := os.Mkdir(s.Dir(id), dirPerm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.root, dirPerm); err != nil {
			return err
		}
		return os.Mkdir(s.Dir(id), dirPerm)
	}
	return err
}

// takeName reserves the container's name and completes its state.
func (s *Store) takeName(rec *Record) error {
	name, fixed := rec.State.Name, rec.State.Name != ""
	for attempt := 0; ; attempt++ {
		if !fixed {
			name = RandomName(attempt / 2) // the first two without digits
		}
		err := s.reserve(name, rec.ID)
		if err == nil {
			break
		}
		if fixed || !errors.Is(err, errdefs.Conflict) || attempt == maxRandomNames {
			return err
		}
	}
	if rec.State.Status == "" {
		rec.State = InitialState(rec, name)
	}
	rec.State.ID, rec.State.Name = rec.ID, name
	return nil
}

func (s *Store) undoCreate(rec *Record) error {
	return errors.Join(s.release(rec.State.Name, rec.ID), os.RemoveAll(s.Dir(rec.ID)))
}

func writeConfig(dir int, rec *Record, d atomicfile.Durability) error {
	fd, err := openAt(dir, configFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), configFile)
	_, err = f.Write(encodeRecord(rec))
	if err == nil && d == atomicfile.Durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// noSpace gives a full disk its kind and its next step.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return (&errdefs.Error{Kind: errdefs.Exhausted, Err: err}).WithHint("make room with: berth system prune, or remove what is not needed")
	}
	return err
}
