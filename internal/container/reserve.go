package container

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

// A name is a hard link names/<name> to the container's config.json, which
// begins with the id. link(2) fails if the name is taken, so it is reservation
// and index at once, is never half-written, takes no room on the disk, and can
// be read by hand: jq . ROOT/containers/names/web

// idAt is what stands before the id in a config.json.
const idAt = `{"Id":"`

func (s *Store) linkPath(name string) string { return s.root + "/" + namesDir + "/" + name }

// lookup returns the id that a name is reserved for.
func (s *Store) lookup(name string) (string, error) {
	fd, err := openAt(unix.AT_FDCWD, s.linkPath(name), unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var head [len(idAt) + ident.Len]byte
	n := 0
	err = retry(func() (err error) {
		n, err = unix.Read(fd, head[:])
		return err
	})
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: s.linkPath(name), Err: err}
	}
	if id := string(head[min(n, len(idAt)):]); n == len(head) && string(head[:len(idAt)]) == idAt && ident.Valid(id) {
		return id, nil
	}
	return "", errdefs.New(errdefs.Internal, "%s is no container's configuration", s.linkPath(name))
}

// reserve takes a name for a container, or says who has it.
func (s *Store) reserve(name, id string) error {
	const attempts = 10
	for range attempts {
		err := os.Link(s.Dir(id)+"/"+configFile, s.linkPath(name))
		if errors.Is(err, fs.ErrNotExist) { // another process is just making the store
			if err = os.Mkdir(filepath.Join(s.root, namesDir), dirPerm); err == nil || errors.Is(err, fs.ErrExist) {
				continue
			}
		}
		if !errors.Is(err, fs.ErrExist) {
			return errdefs.Wrap(noSpace(err), "reserve the name", name)
		}
		owner, err := s.lookup(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // given up since
		}
		if err != nil {
			return err
		}
		gone, err := s.reclaimName(name, owner)
		if err != nil {
			return err
		}
		if !gone {
			return nameTaken(name, owner)
		}
	}
	return errdefs.New(errdefs.Conflict, "the name %q changes hands all the time", name).WithHint("try again")
}

func nameTaken(name, owner string) error {
	return errdefs.New(errdefs.Conflict,
		"Conflict. The container name \"/%s\" is already in use by container \"%s\". "+
			"You have to remove (or rename) that container to be able to reuse that name.", name, owner)
}

// reclaimName frees a name whose container died while it was made or removed,
// and reports whether it did. An owner that is locked is at work: it keeps the name.
//
// Whoever reclaims holds the lock of the names' directory. Without it, of two
// that saw the same dead owner the slower would remove the name that the
// faster has just given to a new one.
func (s *Store) reclaimName(name, owner string) (bool, error) {
	if s.exists(owner) {
		return false, nil
	}
	names, err := s.lock(namesDir)
	if err != nil {
		return false, err
	}
	defer names.release()
	if now, err := s.lookup(name); err != nil || now != owner {
		return true, nil // somebody else reclaimed it: look again
	}
	lk, err := s.tryLock(owner)
	switch {
	case errors.Is(err, errLocked):
		return false, nil
	case err == nil:
		defer lk.release()
		if s.exists(owner) {
			return false, nil
		}
	case !errors.Is(err, errdefs.NotFound):
		return false, err
	}
	return true, s.unlinkName(name)
}

// release gives up a name if it is the container's. The container is locked or
// does not exist yet, so that nobody else frees the name in between.
func (s *Store) release(name, id string) error {
	if name == "" {
		return nil
	}
	if !s.bears(id, name) {
		return nil // freed before, or never ours
	}
	return s.unlinkName(name)
}

// bears reports whether a name is the container's. A configuration that was
// damaged still is the same file under both names.
func (s *Store) bears(id, name string) bool {
	if owner, err := s.lookup(name); err == nil {
		return owner == id
	}
	var link, config unix.Stat_t
	return unix.Stat(s.linkPath(name), &link) == nil && unix.Stat(s.Dir(id)+"/"+configFile, &config) == nil && link.Ino == config.Ino
}

func (s *Store) unlinkName(name string) error {
	err := unix.Unlink(s.linkPath(name))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "unlink", Path: s.linkPath(name), Err: err}
	}
	return nil
}

// nameOf searches the name of a container whose state is damaged.
func (s *Store) nameOf(id string) string {
	entries, err := os.ReadDir(filepath.Join(s.root, namesDir))
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if s.bears(id, e.Name()) {
			return e.Name()
		}
	}
	return ""
}
