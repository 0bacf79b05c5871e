package snapshot

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
)

// Names of what is not a layer. They begin with a dot: checkID lets no layer
// have such a name, and `ls` does not show them.
const (
	draftPrefix = ".draft-" // being filled, or left by a dead process
	trashPrefix = ".trash-" // waiting for Reclaim
)

// maxLayers is the kernel's limit of lower directories (OVL_MAX_STACK).
const maxLayers = 500

// Draft is an image layer being filled. It is locked by its process for as long
// as it lives, so that GC can tell it from one that a dead process left.
type Draft struct {
	s      *Store
	id     string
	parent string
	path   string
	lock   *os.File
	merged *os.File // while it is mounted
	used   bool     // it was mounted: the kernel's own notes lie about
	synced bool
}

// Begin makes an empty draft of a layer on top of parent, "" for a base layer.
// The caller must call Commit or Discard.
func (s *Store) Begin(parent string) (*Draft, error) {
	d := &Draft{s: s, id: ident.New(), parent: parent}
	d.path = s.dir + "/" + draftPrefix + d.id
	if parent != "" {
		lower, err := s.lowerOf(parent)
		if err != nil {
			return nil, err
		}
		if strings.Count(lower, ":")+2 > maxLayers {
			return nil, errdefs.New(errdefs.InvalidArgument, "an image can have at most %d layers", maxLayers)
		}
	}
	if err := d.claim(); err != nil {
		return nil, err
	}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, d.Discard())
	}
	return d, nil
}

// lowerOf is below with the error that a caller who named the parent understands.
func (s *Store) lowerOf(parent string) (string, error) {
	err := checkID(parent)
	if err == nil {
		var lower string
		if lower, err = s.below(parent); err == nil {
			return lower, nil
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return "", &errdefs.Error{Kind: errdefs.NotFound, Op: "find layer", Subject: parent, Err: err, Hint: "berth check repairs the store"}
	}
	return "", errdefs.Wrap(err, "read layer", parent)
}

// claim makes the draft's directory and locks it. A garbage collector may find
// the directory in the moment before it is locked: then it is made again.
func (d *Draft) claim() error {
	for {
		if err := d.s.mkdir(d.path); err != nil {
			return err
		}
		f, err := lockDir(d.path, true)
		if err == nil {
			d.lock = f
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
}

// lockDir opens a directory and locks it, waiting or not. It fails with
// os.ErrNotExist if the directory is not at path any more once the lock is held,
// and with filelock.ErrLocked if another holds the lock and wait is false.
func lockDir(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	var have, at unix.Stat_t
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = filelock.ErrLocked
	case err != nil:
		err = &os.PathError{Op: "flock", Path: path, Err: err}
	case unix.Fstat(int(f.Fd()), &have) != nil || unix.Lstat(path, &at) != nil || have.Ino != at.Ino || have.Dev != at.Dev:
		err = &os.PathError{Op: "flock", Path: path, Err: os.ErrNotExist}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// prepare makes what a layer has besides its files. The root directory starts
// as the parent's: a layer whose archive says nothing of "/" must not change it.
func (d *Draft) prepare() error {
	if err := unix.Mkdir(d.Dir(), layerMode); err != nil {
		return &os.PathError{Op: "mkdir", Path: d.Dir(), Err: err}
	}
	if d.parent == "" {
		return chmod(d.Dir(), layerMode)
	}
	return copyAttributes(d.s.Diff(d.parent), d.Dir(), false)
}

func chmod(path string, mode uint32) error {
	if err := unix.Chmod(path, mode); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// Lay puts a draft that was begun without a parent on one. Layers of an image
// do not depend on each other while they are unpacked, so that a pull can begin
// them all before the first is committed. Unless the layer's archive described
// the root directory itself, that becomes the parent's.
func (d *Draft) Lay(parent string, describesRoot bool) error {
	if _, err := d.s.lowerOf(parent); err != nil {
		return err
	}
	d.parent, d.synced = parent, false
	if describesRoot {
		return nil
	}
	return copyAttributes(d.s.Diff(parent), d.Dir(), false)
}

// ID returns the id that the layer will have.
func (d *Draft) ID() string { return d.id }

// Parent returns the id of the layer below, "" for a base layer.
func (d *Draft) Parent() string { return d.parent }

// Dir returns the directory to be filled.
func (d *Draft) Dir() string { return d.path + "/diff" }

// Sync writes the draft and everything else that was written to its file
// system before to the disk. Commit does it if it was not done; a caller that
// has files of its own to make durable with the layer calls it after writing them.
func (d *Draft) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := d.finish(); err != nil {
		return err
	}
	d.s.step("sync data")
	if err := unix.Syncfs(int(d.lock.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: d.path, Err: err}
	}
	d.synced = true
	return nil
}

// finish makes the draft what a layer is: its files, and the small ones beside them.
func (d *Draft) finish() error {
	if err := d.cleanMount(); err != nil {
		return err
	}
	return d.describe()
}

// describe writes the small files beside diff.
func (d *Draft) describe() error {
	if err := os.RemoveAll(d.path + "/link"); err != nil { // of an earlier Sync
		return err
	}
	if err := writeFile(d.path+"/link", ident.NewLink()); err != nil {
		return err
	}
	if d.parent != "" {
		lower, err := d.s.lowerOf(d.parent)
		if err != nil {
			return err
		}
		if err := os.WriteFile(d.path+"/lower", []byte(lower), 0o644); err != nil {
			return err
		}
		if err := os.MkdirAll(d.path+"/work", layerMode); err != nil {
			return err
		}
	}
	return os.WriteFile(d.path+"/committed", nil, 0o600)
}

// Commit makes the draft a layer and returns its id. When it returns, the layer
// survives a power cut: its data was on disk before its name was. After an error
// the draft still has to be discarded.
func (d *Draft) Commit(ctx context.Context) (string, error) {
	if !d.synced {
		if err := d.Sync(ctx); err != nil {
			return "", err
		}
	}
	if err := d.publish(); err != nil {
		return "", err
	}
	d.s.step("sync links")
	if err := atomicfile.SyncDir(d.s.dir + "/l"); err != nil {
		return "", err
	}
	d.s.step("sync layers")
	if err := atomicfile.SyncDir(d.s.dir); err != nil {
		return "", err
	}
	d.close()
	return d.id, nil
}

// CommitUnsynced is Commit without a sync: for a layer of a build, of which
// there are many, and which can be made again. A power cut may take any part of
// it. Before something that has to outlast one names the layer, Store.Sync is called.
func (d *Draft) CommitUnsynced(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", context.Cause(ctx)
	}
	if err := d.finish(); err != nil {
		return "", err
	}
	if err := d.publish(); err != nil {
		return "", err
	}
	d.close()
	return d.id, nil
}

// publish gives the layer its name.
func (d *Draft) publish() error {
	link, err := os.ReadFile(d.path + "/link")
	if err != nil {
		return err
	}
	d.s.step("rename")
	if err := os.Rename(d.path, d.s.Path(d.id)); err != nil {
		return err
	}
	d.path = d.s.Path(d.id) // a Discard after a failure below removes the layer again
	// After the rename: a link to nothing is always garbage.
	d.s.step("link")
	return d.s.symlink(string(link), d.id)
}

// Sync makes layers that were committed without a sync survive a power cut, and
// with them everything else on their file system (syncfs(2)).
func (s *Store) Sync(ctx context.Context, ids ...string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	for _, id := range ids {
		if _, err := s.lowerOf(id); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	s.step("sync store")
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: s.dir, Err: err}
	}
	return nil
}

// Discard gives the draft up and deletes it. After a successful Commit it does nothing.
func (d *Draft) Discard() error {
	if d.lock == nil {
		return nil
	}
	if err := d.Unmount(); err != nil {
		return err
	}
	defer d.close()
	trash, err := d.s.toTrash(d.path)
	if err != nil {
		return err
	}
	return d.s.reclaim(trash)
}

func (d *Draft) close() {
	if d.lock != nil {
		d.lock.Close()
		d.lock = nil
	}
}
