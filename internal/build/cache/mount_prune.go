package cache

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/storage/snapshot"
)

// mountNames returns the names in the directory of mounts.
func (c *Cache) mountNames() ([]string, error) {
	entries, err := os.ReadDir(c.mountDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// addMounts adds the cache mounts to the items, with the sizes that measure found.
func (s *survey) addMounts() error {
	names, err := s.c.mountNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !isMountName(name) {
			continue
		}
		a, used := s.c.readAbout(name)
		l, err := filelock.TryExclusive(s.c.mountLock(name))
		locked := errors.Is(err, filelock.ErrLocked)
		if !locked {
			if err == nil {
				err = l.Unlock()
			}
			if err != nil {
				return err
			}
		}
		s.items = append(s.items, &item{Item: Item{
			ID: name, Type: CacheMount, Text: a.Text, Size: a.Size, Created: a.Created, LastUsed: used, Mutable: true, InUse: locked,
		}})
	}
	return nil
}

// measure finds out the sizes of the mounts that were used since it last did.
// It walks their trees, so it is done before any lock is taken.
func (c *Cache) measure() error {
	names, err := c.mountNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !isMountName(name) {
			continue
		}
		a, used := c.readAbout(name)
		if a.Measured.After(used) {
			continue
		}
		if err := c.measureOne(name, a, used); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// measureOne writes the size into the mount's file, whose time stays that of the last use.
func (c *Cache) measureOne(name string, a about, used time.Time) (err error) {
	dir := c.mountDir() + "/" + name
	started := time.Now().UTC()
	if a.Size, err = snapshot.TreeSize(dir + "/" + dataDir); err != nil {
		return err
	}
	// One that is in use may grow after it was looked at: it is measured again next time.
	if l, err := filelock.TryExclusive(c.mountLock(name)); err == nil {
		a.Measured = started
		defer l.Unlock()
	} else if !errors.Is(err, filelock.ErrLocked) {
		return err
	}
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(dir+"/"+aboutFile, b, 0o600, atomicfile.Atomic); err != nil {
		return err
	}
	return os.Chtimes(dir+"/"+aboutFile, used, used)
}

// removeMount takes a mount away unless it is in use: at once, however large it
// is. Its files are deleted by reclaimMounts.
func (c *Cache) removeMount(name string) (bool, error) {
	l, err := filelock.TryExclusive(c.mountLock(name))
	if errors.Is(err, filelock.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.step("remove mount")
	err = os.Rename(c.mountDir()+"/"+name, c.mountDir()+"/"+trashPrefix+ident.NewLink())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return err == nil, errors.Join(err, os.Remove(c.mountLock(name)), l.Unlock())
}

// reclaimMounts deletes what removeMount took away and what killed makers left.
func (c *Cache) reclaimMounts() error {
	names, err := c.mountNames()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		switch {
		case strings.HasPrefix(name, trashPrefix):
			errs = append(errs, c.removeTree(name))
		case strings.HasPrefix(name, newPrefix):
			errs = append(errs, c.reclaimNew(strings.TrimPrefix(name, newPrefix)))
		case strings.HasSuffix(name, lockSuffix):
			if mount := strings.TrimSuffix(name, lockSuffix); !c.hasMount(mount) {
				errs = append(errs, c.removeMountLock(mount))
			}
		}
	}
	return errors.Join(errs...)
}

func (c *Cache) hasMount(name string) bool {
	_, err := os.Lstat(c.mountDir() + "/" + name)
	return err == nil
}

// reclaimNew removes the unfinished directory of a mount unless somebody is at it.
func (c *Cache) reclaimNew(name string) error {
	l, err := filelock.TryExclusive(c.mountLock(name))
	if errors.Is(err, filelock.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(c.removeTree(newPrefix+name), l.Unlock())
}

// removeMountLock removes the lock file of a mount that is not there.
func (c *Cache) removeMountLock(name string) error {
	l, err := filelock.TryExclusive(c.mountLock(name))
	if errors.Is(err, filelock.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	if !c.hasMount(name) {
		err = os.Remove(c.mountLock(name))
	}
	return errors.Join(err, l.Unlock())
}
