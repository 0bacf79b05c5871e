package cache

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/linux/process"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// Cache is the build cache of one data root. It holds no state: any number of
// Caches, in any number of processes, may work on one root at once.
type Cache struct {
	dir    string // ROOT/build
	images *catalog.Store
	layers *snapshot.Store
	boot   string // of this machine now

	// at, when not nil, is called before every step that a crash could fall
	// between; tests end the process there.
	at func(step string)
}

// Open returns the cache of a data root. It touches nothing: the directories
// are made by the first write.
func Open(dataRoot string) *Cache {
	return &Cache{dir: dataRoot + "/build", images: catalog.Open(dataRoot), layers: snapshot.Open(dataRoot), boot: process.BootID()}
}

func (c *Cache) recordDir() string { return c.dir + "/cache" }
func (c *Cache) lockDir() string   { return c.dir + "/locks" }
func (c *Cache) mountDir() string  { return c.dir + "/mounts" }

func (c *Cache) path(key oci.Digest) string { return c.recordDir() + "/" + key.Hex() }

func (c *Cache) makeDirs() error {
	for _, d := range [...]string{c.recordDir(), c.lockDir(), c.mountDir()} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// step marks a place where a crash test may strike.
func (c *Cache) step(name string) {
	if c.at != nil {
		c.at(name)
	}
}

// Lock waits until nobody else makes what the key names, in this process or
// another, and returns what ends the right to make it.
func (c *Cache) Lock(ctx context.Context, key oci.Digest) (unlock func(), err error) {
	path := c.lockDir() + "/" + key.Hex()
	l, err := c.wait(ctx, filelock.Exclusive, path)
	if err != nil {
		return nil, err
	}
	return func() {
		// Who waits sees that the file is gone and makes it again. That one may be
		// left by a full disk harms nobody: sweep removes what is not locked.
		_ = errors.Join(os.Remove(path), l.Unlock())
	}, nil
}

// Get returns the record of a key if its layer lies on below, and makes the
// lease keep that layer. A miss is nil.
func (c *Cache) Get(ctx context.Context, lease *catalog.Lease, key oci.Digest, below string) (*Record, error) {
	r, err := c.read(key)
	if err != nil || r == nil || r.Below != below || !c.current(r) {
		return nil, err
	}
	if r.Changed() {
		kept, err := lease.Keep(ctx, r.Layer, nil)
		if err != nil {
			return nil, err
		}
		if !kept {
			return nil, c.drop(key)
		}
	}
	return r, c.touch(key)
}

// read returns the record of a key, nil if there is none. One that cannot be
// read is removed.
func (c *Cache) read(key oci.Digest) (*Record, error) {
	if _, err := oci.ParseDigest(string(key)); err != nil {
		return nil, err
	}
	b, err := atomicfile.Read(c.path(key))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := parseRecord(key, b)
	if err != nil {
		return nil, c.drop(key)
	}
	return r, nil
}

// current reports whether a record counts in this boot.
func (c *Cache) current(r *Record) bool { return r.Boot == "" || r.Boot == c.boot }

func (c *Cache) drop(key oci.Digest) error {
	if err := os.Remove(c.path(key)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// touch says that the record was used now.
func (c *Cache) touch(key oci.Digest) error {
	err := unix.UtimesNanoAt(unix.AT_FDCWD, c.path(key), nil, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "utimensat", Path: c.path(key), Err: err}
	}
	return nil
}

// Put records what a step made, for this boot. commit makes its draft a layer,
// which the lease then keeps; nil if r.Layer is there already. A record of the
// same key is replaced.
func (c *Cache) Put(ctx context.Context, lease *catalog.Lease, r Record, commit func() error) error {
	r.Boot = c.boot
	write := func() error {
		if commit != nil {
			c.step("commit layer")
			if err := commit(); err != nil {
				return err
			}
		}
		c.step("write record")
		return c.write(r)
	}
	if r.Layer == "" {
		hold, err := c.images.Hold()
		if err != nil {
			return err
		}
		defer hold.Release()
		return write()
	}
	kept, err := lease.Keep(ctx, r.Layer, write)
	if err == nil && !kept {
		err = errdefs.New(errdefs.Internal, "layer %s is gone", ident.Short(r.Layer))
	}
	c.step("recorded")
	return err
}

func (c *Cache) write(r Record) error {
	b, err := r.encode()
	if err != nil {
		return err
	}
	err = atomicfile.Write(c.path(r.Key), b, 0o600, atomicfile.Atomic)
	if errors.Is(err, os.ErrNotExist) {
		if err := c.makeDirs(); err != nil {
			return err
		}
		err = atomicfile.Write(c.path(r.Key), b, 0o600, atomicfile.Atomic)
	}
	return err
}

// Learn remembers a layer's diff id in the record of its key.
func (c *Cache) Learn(key oci.Digest, layer string, diffID oci.Digest) error {
	return c.change(key, layer, func(r *Record) bool {
		changed := r.DiffID != diffID
		r.DiffID = diffID
		return changed
	})
}

// Synced says that the record's layer is on disk: it counts after a restart of
// the machine too.
func (c *Cache) Synced(key oci.Digest, layer string) error {
	return c.change(key, layer, func(r *Record) bool {
		changed := r.Boot != ""
		r.Boot = ""
		return changed
	})
}

// change rewrites the record of a key if it still names the layer.
func (c *Cache) change(key oci.Digest, layer string, f func(*Record) bool) error {
	hold, err := c.images.Hold()
	if err != nil {
		return err
	}
	defer hold.Release()
	r, err := c.read(key)
	if err != nil || r == nil || r.Layer != layer || !f(r) {
		return err
	}
	return c.write(*r)
}

// DefaultLimit is the size of the cache unless the user says otherwise: a tenth
// of the file system that the data root is on.
func DefaultLimit(dataRoot string) (int64, error) {
	var st unix.Statfs_t
	at := dataRoot
	err := unix.Statfs(at, &st)
	if errors.Is(err, unix.ENOENT) {
		at = "/"
		err = unix.Statfs(at, &st)
	}
	if err != nil {
		return 0, &os.PathError{Op: "statfs", Path: at, Err: err}
	}
	return int64(st.Blocks) / 10 * st.Bsize, nil //nolint:unconvert // Bsize's type differs between architectures
}

// LastUsed returns when a record was last used; zero if there is none.
func (c *Cache) lastUsed(key oci.Digest) time.Time {
	info, err := os.Lstat(c.path(key))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
