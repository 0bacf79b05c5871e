package archive

import (
	"errors"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive/ustar"
)

// dirCache keeps the directories of the last entries open. Streams go through
// a tree directory by directory, so that most files cost no path lookup at all.
//
// A path is resolved once and its descriptor used as long as nothing on the way
// was removed: making a name cannot change where another path leads, removing a
// directory or link can. Then all are forgotten, though closed only before the
// next entry, because the present one may be using some.
type dirCache struct {
	root  int
	base  string
	slots [16]dirSlot
	turn  int
	stale bool
}

type dirSlot struct {
	path   string
	real   string // "/" and the path without links, once somebody asked
	fd     int
	used   bool
	gone   bool // forgotten: close it with the next entry
	pinned bool // the present entry works in it
}

// full is the path of a clean name seen from the root.
func (c *dirCache) full(name string) string {
	switch {
	case c.base == "":
		return name
	case name == "":
		return c.base
	}
	return c.base + "/" + name
}

// get returns an O_PATH descriptor of the directory. It stays valid until the
// next get; with pin, until next.
func (c *dirCache) get(path string, pin bool) (int, error) {
	for i := range c.slots {
		if s := &c.slots[i]; s.used && !s.gone && s.path == path {
			s.pinned = s.pinned || pin
			return s.fd, nil
		}
	}
	fd, err := rootpath.OpenAt(c.root, c.full(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, err
	}
	for {
		c.turn = (c.turn + 1) % len(c.slots)
		if s := &c.slots[c.turn]; !s.pinned {
			if s.used {
				unix.Close(s.fd)
			}
			*s = dirSlot{path: path, fd: fd, used: true, pinned: pin}
			return fd, nil
		}
	}
}

// forget makes every path be resolved anew.
func (c *dirCache) forget() {
	c.stale = true
	for i := range c.slots {
		c.slots[i].gone = true
	}
}

// next begins an entry: nothing is in use.
func (c *dirCache) next() {
	if c.stale {
		c.close()
		c.stale = false
		return
	}
	c.unpin()
}

func (c *dirCache) unpin() {
	for i := range c.slots {
		c.slots[i].pinned = false
	}
}

func (c *dirCache) close() {
	for i := range c.slots {
		if c.slots[i].used {
			unix.Close(c.slots[i].fd)
		}
		c.slots[i] = dirSlot{}
	}
}

// parent returns the directory that an entry lies in, making it if the stream
// has not described it. It is valid until the next entry.
func (a *applier) parent(dir string) (int, error) {
	fd, err := a.dirs.get(dir, true)
	if err == nil || dir == "" || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
		return fd, err
	}
	above, base := splitLast(dir)
	up, err := a.parent(above)
	if err != nil {
		return -1, err
	}
	opaque, err := a.makeDir(up, base)
	if err != nil {
		return -1, err
	}
	a.dirs.unpin() // of up: a deep path must not use up all slots
	fd, err = a.dirs.get(dir, true)
	if err != nil {
		return -1, err
	}
	if opaque {
		if err := a.setOpaque(fd); err != nil {
			return -1, err
		}
	}
	if a.implied == nil {
		a.implied = map[string]bool{}
	}
	a.implied[dir] = true
	var own owner
	if a.o.MapOwner != nil {
		if own.uid, own.gid, err = a.o.MapOwner(0, 0); err != nil {
			return -1, err
		}
	}
	return fd, a.remember(dir, &ustar.Header{Type: ustar.TypeDir, Mode: 0o755, Mtime: ustar.Time{Nsec: unix.UTIME_OMIT}}, own)
}

// makeDir makes a directory that only its owner may use until it gets its
// attributes at the end. A whiteout of this stream in its place means that the
// layers below had something else there: opaque tells the caller to hide it.
func (a *applier) makeDir(parent int, base string) (opaque bool, err error) {
	err = unix.Mkdirat(parent, base, 0o700)
	if !errors.Is(err, unix.EEXIST) {
		return false, pathError("mkdirat", base, err)
	}
	var st unix.Stat_t
	if err := fstatAt(parent, base, &st); err != nil {
		return false, err
	}
	if a.o.Plain || !isWhiteout(&st) {
		return false, pathError("mkdirat", base, unix.ENOTDIR)
	}
	if err := unix.Unlinkat(parent, base, 0); err != nil {
		return false, pathError("unlinkat", base, err)
	}
	return true, pathError("mkdirat", base, unix.Mkdirat(parent, base, 0o700))
}

// clear removes what is in the way of a new entry.
func (a *applier) clear(parent int, base string) error {
	var st unix.Stat_t
	if err := fstatAt(parent, base, &st); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		if a.o.KeepKinds {
			return errdefs.New(errdefs.Conflict, "cannot overwrite directory with non-directory")
		}
		if err := a.recordRemoval(parent, base); err != nil {
			return err
		}
		a.dirs.forget()
		return rootpath.RemoveAll(parent, base)
	case unix.S_IFREG:
		if err := a.recordRemoval(parent, base); err != nil {
			return err
		}
	case unix.S_IFLNK:
		a.dirs.forget()
	}
	err := unix.Unlinkat(parent, base, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return pathError("unlinkat", base, err)
}

// place calls create, and once more after clearing the way if the name is taken.
func (a *applier) place(parent int, base, op string, create func() error) error {
	err := create()
	for try := 0; errors.Is(err, unix.EEXIST) && try < 8; try++ { // more than one try: a live container may put it back
		if err := a.clear(parent, base); err != nil {
			return err
		}
		err = create()
	}
	return pathError(op, base, err)
}

func fstatAt(dir int, name string, st *unix.Stat_t) error {
	return pathError("fstatat", name, unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW))
}
