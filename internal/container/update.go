package container

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
)

// Update changes the state of a container under its lock and returns the new
// state. change sees the present state, checked against the kernel; if it
// returns an error, nothing is changed. The step must be one that Status
// allows. The change survives the death of any process, not the loss of power.
func (s *Store) Update(id string, change func(*State) error) (State, error) {
	return s.update(id, atomicfile.Atomic, change)
}

// UpdateDurably is Update that survives the loss of power too, for what the
// user must not have to say twice. It costs two syncs.
func (s *Store) UpdateDurably(id string, change func(*State) error) (State, error) {
	return s.update(id, atomicfile.Durable, change)
}

func (s *Store) update(id string, d atomicfile.Durability, change func(*State) error) (State, error) {
	lk, err := s.lock(id)
	if err != nil {
		return State{}, err
	}
	defer lk.release()
	return s.updateLocked(lk, id, d, change)
}

func (s *Store) updateLocked(lk lock, id string, d atomicfile.Durability, change func(*State) error) (State, error) {
	st, err := s.readState(lk.dir, id, nil)
	if err != nil {
		return State{}, err
	}
	st, _ = s.refresh(st)
	before := st.Status
	if err := change(&st); err != nil {
		return State{}, err
	}
	if err := checkTransition(id, before, st.Status); err != nil {
		return State{}, err
	}
	err = writeState(lk.dir, &st, d)
	if err != nil && !st.Status.Live() && s.putAside(&st) == nil {
		err = nil
	}
	if err != nil {
		return State{}, errdefs.Wrap(noSpace(err), "record the state of container", id)
	}
	return st, nil
}

// asideFile keeps, among the run-time files, an end that found no room in the
// data root. That can be on file systems that never overwrite (btrfs, or a
// read-only remount after an error): there the turns of writeState do not help.
const asideFile = "end.json"

func (s *Store) putAside(st *State) error {
	if err := s.MakeStateDir(st.ID); err != nil {
		return err
	}
	return atomicfile.Write(s.StateDir(st.ID)+"/"+asideFile, appendState(nil, st), filePerm, atomicfile.Atomic)
}

// aside returns the end of the run that st believes to be going on, if it was put aside.
func (s *Store) aside(st State) (State, bool) {
	text, err := readAt(unix.AT_FDCWD, s.StateDir(st.ID)+"/"+asideFile, nil)
	if err != nil {
		return State{}, false
	}
	end, whole, err := parseState(text)
	ok := err == nil && whole && end.ID == st.ID && end.StartedAt.Equal(st.StartedAt)
	return end, ok
}

// Rename gives a container another name. A crash in the middle leaves it with
// both until GC.
func (s *Store) Rename(id, name string) error {
	name = strings.TrimPrefix(name, "/")
	if err := CheckName(name); err != nil {
		return err
	}
	lk, err := s.lock(id)
	if err != nil {
		return err
	}
	defer lk.release()
	st, err := s.readState(lk.dir, id, nil)
	if err != nil {
		return err
	}
	if st.Name == name {
		return errdefs.New(errdefs.InvalidArgument, "Renaming a container with the same name as its current name")
	}
	if err := s.reserve(name, id); err != nil {
		return err
	}
	old := st.Name
	_, err = s.updateLocked(lk, id, atomicfile.Atomic, func(st *State) error {
		st.Name = name
		return nil
	})
	if err != nil {
		return errors.Join(err, s.release(name, id))
	}
	return s.release(old, id)
}

// Remove deletes a container, whatever its state: that it does not run is the
// caller's duty. Removing its state file is the step that counts; the name and
// the rest of its files follow. Nothing of that needs room on the disk, and if
// it is interrupted, GC finishes it.
func (s *Store) Remove(id string) error {
	lk, err := s.lock(id)
	if err != nil {
		return err
	}
	defer lk.release()
	name := ""
	if st, err := s.readState(lk.dir, id, nil); err == nil {
		name = st.Name
	} else if errors.Is(err, errdefs.NotFound) {
		return err
	} else {
		name = s.nameOf(id)
	}
	if err := unix.Unlinkat(lk.dir, stateFile, 0); err != nil {
		return errdefs.Wrap(&os.PathError{Op: "unlink", Path: stateFile, Err: err}, "remove container", id)
	}
	return errdefs.Wrap(s.reclaim(id, name), "remove container", id)
}

// reclaim removes what is left of a container that no longer exists.
func (s *Store) reclaim(id, name string) error {
	return errors.Join(s.release(name, id), os.RemoveAll(s.Dir(id)), os.RemoveAll(s.StateDir(id)))
}
