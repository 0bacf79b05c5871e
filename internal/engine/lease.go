package engine

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
)

// A lease marks a container that some process is working on: being made,
// running (its monitor holds the lease), being removed. It is a locked file
// STATE/active/<id>. The kernel drops the lock when the last holder dies, so a
// file there that can be locked belongs to work that was cut short, and
// whoever finds it finishes or undoes that work (see reconcile).
type lease struct {
	lock *filelock.Lock
	path string
	left bool // a dead holder left it: its work has to be finished first

	cgroupParent string // of a holder that died, if it noted one
}

func (e *Engine) leaseDir() string { return filepath.Join(e.opt.StateRoot, "active") }

// acquire takes the lease of a container, waiting for no one: a held lease is a Conflict.
func (e *Engine) acquire(id string) (*lease, error) {
	path := filepath.Join(e.leaseDir(), id)
	l, err := filelock.TryExclusive(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(e.leaseDir(), 0o700); err != nil {
			return nil, errdefs.Wrap(err, "prepare", "the state directory")
		}
		l, err = filelock.TryExclusive(path)
	}
	if errors.Is(err, filelock.ErrLocked) {
		return nil, errdefs.New(errdefs.Conflict, "container %s is in use by another command", id[:12]).WithHint("try again in a moment")
	}
	if err != nil {
		return nil, errdefs.Wrap(err, "lock", "container "+id[:12])
	}
	return newLease(l, path), nil
}

// newLease marks the file of a lock that was just taken. A file that is marked
// already is the trace of a holder that died.
func newLease(lock *filelock.Lock, path string) *lease {
	l := &lease{lock: lock, path: path}
	var text [unix.PathMax]byte
	if n, err := unix.Pread(int(lock.File().Fd()), text[:], 0); err == nil && n > 0 {
		l.left, l.cgroupParent = true, strings.TrimSuffix(string(text[:n]), "\n")
		return l
	}
	l.note("")
	return l
}

// note marks the lease with what its heir cannot know once the container's
// record is gone. Without room for it on a full disk, it has to do without.
func (l *lease) note(cgroupParent string) {
	_, _ = unix.Pwrite(int(l.file().Fd()), []byte(cgroupParent+"\n"), 0)
}

// heir is the lease of a process that this one was before an execve(2): the
// lock was never let go.
func (e *Engine) heir(id string, fd uintptr) *lease {
	unix.CloseOnExec(int(fd))
	path := filepath.Join(e.leaseDir(), id)
	return &lease{lock: filelock.Adopt(os.NewFile(fd, path)), path: path}
}

// file is the locked file: who inherits its descriptor shares the lease.
func (l *lease) file() *os.File { return l.lock.File() }

// end gives the lease up with the work done: nothing is left to finish.
func (l *lease) end() error { return errors.Join(os.Remove(l.path), l.lock.Unlock()) }

// pass lets go of the lease without ending it: another holder goes on.
func (l *lease) pass() error { return l.lock.Unlock() }

// reconcile finishes what dead processes left half done. Every verb that makes,
// starts, stops, lists or removes containers begins with it. It costs one
// directory listing, and three system calls per container that is active now;
// that it fails does not keep the verb from its own work.
func (e *Engine) reconcile(ctx context.Context) {
	entries, err := os.ReadDir(e.leaseDir())
	if err != nil {
		return // nothing was ever active in this boot, or this user may not look
	}
	for _, entry := range entries {
		id := entry.Name()
		if !ident.Valid(id) {
			continue
		}
		lock, err := filelock.TryExclusive(filepath.Join(e.leaseDir(), id))
		if err != nil {
			continue // alive, or just ended
		}
		if err := e.recover(ctx, id, newLease(lock, filepath.Join(e.leaseDir(), id))); err != nil {
			e.opt.Log.Warn("finish the work of a dead process", "container", id, "error", err)
		}
	}
}
