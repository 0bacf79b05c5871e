package cache

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/linux/rootpath"
)

// MountRequest asks for the directory of a RUN --mount=type=cache.
type MountRequest struct {
	ID string // as the user wrote it: any text, never a path
	// Base names what the directory is filled with at first: equal IDs with
	// another base are other directories. "" is an empty directory.
	Base string
	// Fill puts the base's files into the new directory, given as open.
	Fill func(ctx context.Context, into *os.File) error
	// Mode, UID and GID are those of the new directory; a Mode of 0 keeps what Fill gave it.
	Mode, UID, GID uint32
	// Sharing is "shared" (any number of programs at once), "locked" (one after
	// the other) or "private" (whoever comes while it is in use gets another directory).
	Sharing string
	Text    string // for du
}

// Mount is a cache mount's directory, held while a program uses it.
type Mount struct {
	Dir  *os.File // opened once: whatever happens to names, this is the directory
	lock *filelock.Lock
}

// Close ends the use.
func (m *Mount) Close() error { return errors.Join(m.Dir.Close(), m.lock.Unlock()) }

// Names in the directory of mounts. A mount's own is 64 hex digits, a dash and a number.
const (
	newPrefix   = ".new-"   // being filled by who holds the mount's lock
	trashPrefix = ".trash-" // being deleted
	lockSuffix  = ".lock"
	dataDir     = "data"
	aboutFile   = "about.json"
)

// maxPrivate bounds how many programs can use a private mount at once.
const maxPrivate = 256

// about is what is known of a mount besides its files.
type about struct {
	ID       string    `json:"id"`
	Text     string    `json:"text"`
	Created  time.Time `json:"created"`
	Size     int64     `json:"size"`     // bytes, when it was measured
	Measured time.Time `json:"measured"` // zero: never
}

// Mount finds or makes the directory of a cache mount and waits until it may be
// used. Who needs several takes them in the order of MountRequest.Name, so that
// two programs never wait for each other.
func (c *Cache) Mount(ctx context.Context, r MountRequest) (*Mount, error) {
	m, err := c.mount(ctx, r)
	return m, errdefs.Wrap(err, "prepare", "the cache mount "+strconv.Quote(r.ID))
}

// Name returns what the mount is called on disk, and in du.
func (r *MountRequest) Name() string {
	id := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	return NewKey("cache mount").Add("id", r.ID).Add("base", r.Base).Add("mode", id(r.Mode), id(r.UID), id(r.GID)).Sum().Hex()
}

func (c *Cache) mount(ctx context.Context, r MountRequest) (*Mount, error) {
	name := r.Name()
	switch r.Sharing {
	case "private":
		for slot := range maxPrivate {
			m, err := c.tryMount(ctx, r, slotName(name, slot))
			if !errors.Is(err, filelock.ErrLocked) {
				return m, err
			}
		}
		return nil, errdefs.New(errdefs.Exhausted, "%d programs use it at this moment", maxPrivate)
	case "locked":
		return c.waitMount(ctx, r, slotName(name, 0), filelock.Exclusive)
	case "shared", "":
		return c.waitMount(ctx, r, slotName(name, 0), filelock.Shared)
	}
	return nil, errdefs.New(errdefs.InvalidArgument, "unknown sharing mode %q", r.Sharing)
}

func slotName(name string, slot int) string { return name + "-" + strconv.Itoa(slot) }

// isMountName reports whether name could be that of a mount's directory.
func isMountName(name string) bool {
	id, slot, ok := strings.Cut(name, "-")
	n, err := strconv.Atoi(slot)
	return ok && ident.Valid(id) && err == nil && n >= 0 && n < maxPrivate && strconv.Itoa(n) == slot
}

func (c *Cache) mountLock(name string) string { return c.mountDir() + "/" + name + lockSuffix }

// tryMount takes a directory for this program alone, or fails with filelock.ErrLocked.
func (c *Cache) tryMount(ctx context.Context, r MountRequest, name string) (*Mount, error) {
	l, err := filelock.TryExclusive(c.mountLock(name))
	if errors.Is(err, os.ErrNotExist) {
		if err := c.makeDirs(); err != nil {
			return nil, err
		}
		l, err = filelock.TryExclusive(c.mountLock(name))
	}
	if err != nil {
		return nil, err
	}
	return c.openMount(ctx, r, name, l, true)
}

// waitMount takes the directory once the lock can be had. Only who has it alone may make it.
func (c *Cache) waitMount(ctx context.Context, r MountRequest, name string, how func(string) (*filelock.Lock, error)) (*Mount, error) {
	for {
		l, err := c.wait(ctx, how, c.mountLock(name))
		if err != nil {
			return nil, err
		}
		m, err := c.openMount(ctx, r, name, l, false)
		if !errors.Is(err, os.ErrNotExist) {
			return m, err
		}
		if l, err = c.wait(ctx, filelock.Exclusive, c.mountLock(name)); err != nil {
			return nil, err
		}
		if m, err = c.openMount(ctx, r, name, l, true); err != nil {
			return nil, err
		}
		if err := m.Close(); err != nil {
			return nil, err
		}
	}
}

// openMount opens the directory whose lock is held; alone says that it may be made.
func (c *Cache) openMount(ctx context.Context, r MountRequest, name string, l *filelock.Lock, alone bool) (*Mount, error) {
	path := c.mountDir() + "/" + name
	open := func() (*os.File, error) {
		return os.OpenFile(path+"/"+dataDir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	}
	d, err := open()
	if errors.Is(err, os.ErrNotExist) && alone {
		if err = c.makeMount(ctx, r, name); err == nil {
			d, err = open()
		}
	}
	if err == nil {
		err = ignoreMissing(unix.UtimesNanoAt(unix.AT_FDCWD, path+"/"+aboutFile, nil, 0))
	}
	if err != nil {
		if d != nil {
			d.Close()
		}
		return nil, errors.Join(err, l.Unlock())
	}
	return &Mount{Dir: d, lock: l}, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// makeMount makes the directory whole and then gives it its name.
//
// Preconditions: its lock is held alone.
func (c *Cache) makeMount(ctx context.Context, r MountRequest, name string) (err error) {
	tmp := c.mountDir() + "/" + newPrefix + name
	if err := c.removeTree(newPrefix + name); err != nil { // of a killed maker
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.removeTree(newPrefix+name))
		}
	}()
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(tmp+"/"+dataDir, 0o755); err != nil {
		return err
	}
	d, err := os.Open(tmp + "/" + dataDir)
	if err != nil {
		return err
	}
	defer d.Close()
	c.step("fill mount")
	if r.Fill != nil {
		if err := r.Fill(ctx, d); err != nil {
			return err
		}
	}
	if r.Mode != 0 {
		if err := d.Chown(int(r.UID), int(r.GID)); err != nil {
			return err
		}
		if err := unix.Fchmod(int(d.Fd()), r.Mode); err != nil {
			return &os.PathError{Op: "fchmod", Path: d.Name(), Err: err}
		}
	}
	text := r.Text
	if len(text) > maxText {
		text = text[:maxText]
	}
	b, err := json.Marshal(about{ID: r.ID, Text: text, Created: time.Now().UTC()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(tmp+"/"+aboutFile, b, 0o600); err != nil {
		return err
	}
	c.step("name mount")
	return os.Rename(tmp, c.mountDir()+"/"+name)
}

// removeTree deletes a name of the directory of mounts with all below it.
func (c *Cache) removeTree(name string) error {
	dir, err := os.Open(c.mountDir())
	if err != nil {
		return err
	}
	defer dir.Close()
	return rootpath.RemoveAll(int(dir.Fd()), name)
}

// readAbout returns what is known of a mount, the zero value if that is damaged.
func (c *Cache) readAbout(name string) (a about, used time.Time) {
	path := c.mountDir() + "/" + name + "/" + aboutFile
	b, err := atomicfile.Read(path)
	if err != nil || json.Unmarshal(b, &a) != nil || a.Size < 0 {
		a = about{}
	}
	if info, err := os.Lstat(path); err == nil {
		used = info.ModTime()
	}
	return a, used
}
