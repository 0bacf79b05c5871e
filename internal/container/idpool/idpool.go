// Package idpool provides the host's ids for containers with a user namespace:
// each gets a range of its own, so that a process that breaks out of one
// container has no rights over the files and processes of another.
//
// The ids come from where the administrator put them: the entries of the user
// "containers" in /etc/subuid and /etc/subgid (subuid(5)), which Podman uses
// too. Without such entries a range is used that nobody else gives out:
//
//	100000 -  600100000       useradd(8) gives them to users, by default
//	524288 - 1879048191       systemd-nspawn's containers
//	1879048192 - 2141192191   ours: 4000 ranges of 65536
//
// A reservation is a symbolic link ROOT/userns/<container's id> that leads to
// "UID:GID:COUNT". It is made at once or not at all, and can be read with ls -l.
// Who reserves holds a lock for as long as it takes to read the directory.
package idpool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/linux/userns"
)

// Size is how many ids a container gets: what images use, 0 to 65535.
const Size = 65536

// defaultIDs are given out where the administrator named none.
var defaultIDs = stretch{First: 1879048192, Count: 4000 * Size}

// account is whose entries in subuid(5) and subgid(5) are used.
const account = "containers"

// Pool is the ranges below one data root. It holds no state: any number of
// Pools, in any number of processes, may work on one root at once.
type Pool struct {
	dir string // ROOT/userns
	etc string // /etc
}

// Open returns the pool of a data root. It touches nothing.
func Open(dataRoot string) *Pool { return &Pool{dir: filepath.Join(dataRoot, "userns"), etc: "/etc"} }

const lockFile = "lock"

// Reserve notes a range for a container: want, or if that is nil the first that
// overlaps with no other container's. A range that was asked for may overlap:
// containers that share files are given the same. gone tells whether a container
// that has a reservation exists no more; durable, that the reservation must
// outlast a power cut.
func (p *Pool) Reserve(id string, want *userns.Range, durable bool, gone func(id string) bool) (r userns.Range, err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return r, err
	}
	lock, err := filelock.Exclusive(filepath.Join(p.dir, lockFile))
	if err != nil {
		return r, err
	}
	defer lock.Unlock()
	if want != nil {
		r = *want
	} else if r, err = p.choose(gone); err != nil {
		return r, err
	}
	if err := os.Symlink(r.String(), filepath.Join(p.dir, id)); err != nil {
		return r, errdefs.Wrap(err, "reserve ids for container", ident.Short(id))
	}
	if durable {
		err = p.sync()
	}
	return r, err
}

// choose returns a free range. Reservations whose containers are gone, as a
// power cut leaves them, are looked for when none is free.
//
// Preconditions: the lock is held.
func (p *Pool) choose(gone func(id string) bool) (userns.Range, error) {
	ids, err := p.ids()
	if err != nil {
		return userns.Range{}, err
	}
	taken, err := p.List()
	if err != nil {
		return userns.Range{}, err
	}
	if r, ok := ids.free(taken); ok {
		return r, nil
	}
	for id := range taken {
		if gone(id) {
			if err := p.Release(id); err != nil {
				return userns.Range{}, err
			}
			delete(taken, id)
		}
	}
	if r, ok := ids.free(taken); ok {
		return r, nil
	}
	return userns.Range{}, errdefs.New(errdefs.Exhausted, "all %d id ranges for containers are taken", len(taken)).
		WithHint("remove containers that are not needed, or give %s more ids in /etc/subuid and /etc/subgid", account)
}

// Release gives a container's range back. It is no error if it has none.
func (p *Pool) Release(id string) error {
	err := os.Remove(filepath.Join(p.dir, id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List returns the reserved ranges by container.
func (p *Pool) List() (map[string]userns.Range, error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	taken := make(map[string]userns.Range, len(entries))
	for _, e := range entries {
		text, err := os.Readlink(filepath.Join(p.dir, e.Name()))
		if err != nil {
			continue // the lock, or given back since
		}
		if r, err := userns.ParseRange(text); err == nil {
			taken[e.Name()] = r
		}
	}
	return taken, nil
}

func (p *Pool) sync() error {
	fd, err := unix.Open(p.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: p.dir, Err: err}
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil {
		return &os.PathError{Op: "fsync", Path: p.dir, Err: err}
	}
	return nil
}
