package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

// Store is the containers of one data root, as files:
//
//	ROOT/containers/<id>/config.json    the Record; written once
//	ROOT/containers/<id>/state.json     the State; a container exists exactly while this file does
//	ROOT/containers/<id>/state.next     the state before, and the room for the next one
//	ROOT/containers/names/<name>        a hard link to config.json: making it reserves the name
//	STATE/containers/<id>/              sockets and handles of the present run; emptied by a reboot
//
// There is no index and no global lock. Every change of one container is made
// under flock(2) on its directory, which needs no file of its own, works when
// the disk is full, and is gone with its holder however that died.
//
// A Store keeps no open files; any number of them, in any number of processes,
// may work on the same roots.
type Store struct {
	root  string // ROOT/containers
	state string // STATE/containers
	boot  func() string
}

// The names of files and directories in the store.
const (
	namesDir   = "names"
	configFile = "config.json"
	stateFile  = "state.json"
	nextFile   = "state.next"
)

const (
	dirPerm  = 0o700
	filePerm = 0o600
)

// Open returns the store below a data root and a state root. It does no I/O:
// directories are made when they are first needed.
func Open(dataRoot, stateRoot string) *Store {
	return &Store{root: filepath.Join(dataRoot, "containers"), state: filepath.Join(stateRoot, "containers"), boot: bootID()}
}

// Dir returns the directory of a container's files. It exists from Create to Remove.
func (s *Store) Dir(id string) string { return s.root + "/" + id }

// StateDir returns the directory of a container's run-time files. It exists
// after MakeStateDir, until a reboot or Remove.
func (s *Store) StateDir(id string) string { return s.state + "/" + id }

// MakeStateDir makes the directory of a container's run-time files, if it is not there.
func (s *Store) MakeStateDir(id string) error {
	err := os.Mkdir(s.StateDir(id), dirPerm)
	if errors.Is(err, fs.ErrNotExist) {
		err = os.MkdirAll(s.StateDir(id), dirPerm)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// notFound is the error for a container that does not exist.
func notFound(ref string) error {
	return errdefs.New(errdefs.NotFound, "No such container: %s", ref).WithHint("list the containers with: berth ps -a")
}

// Resolve returns the id of the container that a user means by a full id, a
// name (also with a slash before it, as Docker writes names) or the beginning
// of an id that no other container shares.
func (s *Store) Resolve(ref string) (string, error) {
	if ident.Valid(ref) {
		if s.exists(ref) {
			return ref, nil
		}
		return "", notFound(ref)
	}
	name := strings.TrimPrefix(ref, "/")
	if validName(name) {
		id, err := s.lookup(name)
		if err == nil && s.exists(id) {
			return id, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	if !ident.IsPrefix(ref) {
		return "", notFound(ref)
	}
	ids, err := s.ids()
	if err != nil {
		return "", err
	}
	id, err := ident.Resolve(ref, ids, "container")
	if errors.Is(err, errdefs.NotFound) {
		return "", notFound(ref)
	}
	return id, err
}

func (s *Store) exists(id string) bool {
	return unix.Access(s.Dir(id)+"/"+stateFile, unix.F_OK) == nil
}

// ids returns the ids of all containers, also of those that are being made or
// removed, in no order.
func (s *Store) ids() ([]string, error) {
	d, err := os.Open(s.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	ids := names[:0]
	for _, n := range names {
		if ident.Valid(n) {
			ids = append(ids, n)
		}
	}
	return ids, nil
}

// Load returns a whole container by its full id.
func (s *Store) Load(id string) (*Record, error) {
	st, err := s.LoadState(id)
	if err != nil {
		return nil, err
	}
	rec, err := s.config(id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFound(id) // removed since
	}
	if err != nil {
		return nil, errdefs.Wrap(err, "read the configuration of container", id)
	}
	rec.State = st
	return rec, nil
}

func (s *Store) config(id string) (*Record, error) {
	text, err := os.ReadFile(s.Dir(id) + "/" + configFile)
	if err != nil {
		return nil, err
	}
	return decodeRecord(text)
}

// LoadState returns what ps shows of a container, by its full id. What it says
// of processes is checked against the kernel; a difference is recorded if possible.
func (s *Store) LoadState(id string) (State, error) {
	dir, err := openDir(s.Dir(id))
	if err != nil {
		return State{}, asNotFound(err, id)
	}
	defer unix.Close(dir)
	st, err := s.readState(dir, id, nil)
	if err != nil {
		return State{}, err
	}
	return s.adopt(st), nil
}

// adopt checks a state and, where it was wrong, records the correction, so
// that every later reader sees the same end at the same time. Who may not
// write or finds no room still gets the right answer.
func (s *Store) adopt(st State) State {
	now, changed := s.refresh(st)
	if !changed {
		return st
	}
	recorded, err := s.Update(st.ID, func(*State) error { return nil })
	if err != nil {
		return now
	}
	return recorded
}

// States returns the states of all containers in no order, checked as by
// LoadState. It reads one small file for each container, and no other.
func (s *Store) States() ([]State, error) {
	root, err := openDir(s.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	states := make([]State, 0, len(ids))
	buf := make([]byte, 0, stateBlock)
	for _, id := range ids {
		if buf, err = readAt(root, id+"/"+stateFile, buf[:0]); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // being made or removed
			}
			return nil, errdefs.Wrap(err, "read the state of container", id)
		}
		st, whole, err := parseState(buf)
		if err != nil || !whole || st.ID != id {
			st, err = s.reread(id)
		}
		switch {
		case errors.Is(err, errdefs.NotFound):
			continue
		case err != nil: // one damaged container must not hide the others
			st = State{ID: id, Name: s.nameOf(id), Status: Dead, Error: err.Error()}
		}
		states = append(states, s.adopt(st))
	}
	return states, nil
}

func (s *Store) reread(id string) (State, error) {
	dir, err := openDir(s.Dir(id))
	if err != nil {
		return State{}, asNotFound(err, id)
	}
	defer unix.Close(dir)
	return s.readState(dir, id, nil)
}
