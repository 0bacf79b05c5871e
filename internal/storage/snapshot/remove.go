package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/linux/overlay"
	"berth/internal/linux/rootpath"
)

// Remove takes a layer out of the store: at once, however large it is, and on a
// full disk too. Its files are deleted by the next Reclaim. A writable layer that
// is mounted is unmounted. Removing a missing layer is no error.
//
// Removing an image layer also removes its init layer. Preconditions for image
// layers: no other layer lies on it.
func (s *Store) Remove(id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if err := s.removeOne(id); err != nil {
		return errdefs.Wrap(err, "remove layer", ident.Short(id))
	}
	var st unix.Stat_t
	if unix.Lstat(s.Path(initID(id)), &st) != nil {
		return nil
	}
	return errdefs.Wrap(s.removeOne(initID(id)), "remove layer", initID(id))
}

func (s *Store) removeOne(id string) error {
	if err := overlay.Unmount(s.Merged(id), true); err != nil {
		return err
	}
	link, lerr := s.readLink(id)
	s.step("rename to trash")
	if _, err := s.toTrash(s.Path(id)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	if lerr == nil { // an unreadable link name is left to GC, as a link to nothing
		s.step("unlink")
		path := s.dir + "/l/" + link
		if err := unix.Unlink(path); err != nil && !errors.Is(err, unix.ENOENT) {
			return &os.PathError{Op: "unlink", Path: path, Err: err}
		}
	}
	return nil
}

// toTrash renames path to a trash name and returns that name.
func (s *Store) toTrash(path string) (string, error) {
	name := trashPrefix + ident.NewLink()
	if err := unix.Rename(path, s.dir+"/"+name); err != nil {
		return "", &os.LinkError{Op: "rename", Old: path, New: s.dir + "/" + name, Err: err}
	}
	return name, nil
}

// Reclaim deletes what Remove took out, and returns how many trees that were.
// Any number of processes may reclaim at once.
func (s *Store) Reclaim(ctx context.Context) (int, error) {
	n := 0
	names, err := s.list()
	for _, name := range names {
		if !strings.HasPrefix(name, trashPrefix) {
			continue
		}
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		if rerr := s.reclaim(name); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		n++
	}
	return n, err
}

func (s *Store) reclaim(name string) error {
	// A process killed between its mount and its record may have left a mount.
	if err := overlay.Unmount(s.dir+"/"+name+"/merged", true); err != nil {
		return err
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	return errdefs.Wrap(rootpath.RemoveAll(int(dir.Fd()), name), "delete", s.dir+"/"+name)
}

// list returns the names in the store's directory, none if there is none yet.
func (s *Store) list() ([]string, error) {
	d, err := os.Open(s.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// GC takes out every layer that inUse does not claim, drafts of dead processes
// and links to nothing, as Remove does: Reclaim deletes the files. Init layers
// live as long as the layer they belong to.
//
// Preconditions: no layer is being committed or prepared, and none that inUse
// does not know is about to be used: the caller holds catalog's exclusive lock.
func (s *Store) GC(inUse func(id string) bool) error {
	names, err := s.list()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		switch {
		case name == "l" || strings.HasPrefix(name, trashPrefix):
		case strings.HasPrefix(name, draftPrefix):
			errs = append(errs, s.collectDraft(name))
		case checkID(name) != nil || name == initID(""):
		case !inUse(strings.TrimSuffix(name, initSuffix)):
			errs = append(errs, s.removeOne(name))
		}
	}
	return errors.Join(append(errs, s.collectLinks())...)
}

// CollectDrafts deletes the drafts that dead processes left. It takes nothing
// else, and unlike GC it may be called at any time: who has a draft's lock has
// nobody else working on it.
func (s *Store) CollectDrafts(ctx context.Context) error {
	names, err := s.list()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if strings.HasPrefix(name, draftPrefix) {
			errs = append(errs, s.collectDraft(name))
		}
	}
	_, err = s.Reclaim(ctx)
	return errors.Join(append(errs, err)...)
}

// collectDraft removes a draft whose process is dead: its lock can be had.
func (s *Store) collectDraft(name string) error {
	lock, err := lockDir(s.dir+"/"+name, false)
	if errors.Is(err, filelock.ErrLocked) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	_, err = s.toTrash(s.dir + "/" + name)
	return err
}

// collectLinks removes the short links that lead to no layer.
func (s *Store) collectLinks() error {
	dir := s.dir + "/l"
	d, err := os.Open(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		var st unix.Stat_t
		if errors.Is(unix.Stat(filepath.Join(dir, name), &st), unix.ENOENT) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
