package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/linux/process"
)

// A lease marks a container that some process is working on: being made,
// running (its monitor holds the lease), being removed. It is a locked file
// STATE/active/<id>. The kernel drops the lock when the last holder dies, so a
// file there that can be locked belongs to work that was cut short, and
// whoever finds it finishes or undoes that work (see reconcile).
//
// The file holds one line: the pid of the holder, and after a blank the cgroup
// parent, if one was asked for.
type lease struct {
	lock *filelock.Lock
	path string
	left bool // a dead holder left it: its work has to be finished first

	// What an heir cannot know once the container's record is gone.
	cgroupParent string
}

func (e *Engine) leaseDir() string { return filepath.Join(e.opt.StateRoot, "active") }

// acquire takes the lease of a container, waiting for no one who is alive: a held lease is a Conflict.
func (e *Engine) acquire(id string) (*lease, error) {
	path := filepath.Join(e.leaseDir(), id)
	l, err := lockLease(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(e.leaseDir(), 0o700); err != nil {
			return nil, errdefs.Wrap(err, "prepare", "the state directory")
		}
		l, err = lockLease(path)
	}
	if errors.Is(err, filelock.ErrLocked) {
		return nil, errdefs.New(errdefs.Conflict, "container %s is in use by another command", id[:12]).WithHint("try again in a moment")
	}
	if err != nil {
		return nil, errdefs.Wrap(err, "lock", "container "+id[:12])
	}
	return newLease(l, path), nil
}

// dyingLimit is how long a dead holder's lock is waited for.
const dyingLimit = 2 * time.Second

// lockLease locks the file of a lease. The lock of a holder that was killed
// lasts until the kernel has taken the last of its threads apart, and any child
// of it that had not got to its execve(2): a moment, which is waited for, so
// that the next command after a death finds what that left.
func lockLease(path string) (*filelock.Lock, error) {
	var end time.Time
	for {
		l, err := filelock.TryExclusive(path)
		if !errors.Is(err, filelock.ErrLocked) || !holderEnds(path) {
			return l, err
		}
		if end.IsZero() {
			end = time.Now().Add(dyingLimit)
		} else if time.Now().After(end) {
			return l, err
		}
		time.Sleep(time.Millisecond)
	}
}

// holderEnds reports whether the process that noted itself in a lease is dead or dying.
func holderEnds(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	pid, _, ok := readNote(fd)
	return ok && pid > 0 && process.Ending(pid)
}

// newLease notes a new holder in the file of a lock that was just taken. A file
// that has a note already is the trace of a holder that died.
func newLease(lock *filelock.Lock, path string) *lease {
	l := &lease{lock: lock, path: path}
	_, l.cgroupParent, l.left = readNote(int(l.file().Fd()))
	l.note(os.Getpid())
	return l
}

// note marks the lease with its holder. Without room for it on a full disk, it
// has to do without.
func (l *lease) note(pid int) {
	_, _ = unix.Pwrite(int(l.file().Fd()), []byte(strconv.Itoa(pid)+" "+l.cgroupParent+"\n"), 0)
}

// readNote returns what the file of a lease says, if anything. A longer note
// may have been there before: only the first line counts.
func readNote(fd int) (pid int, cgroupParent string, ok bool) {
	var text [unix.PathMax + 16]byte
	n, err := unix.Pread(fd, text[:], 0)
	if err != nil || n <= 0 {
		return 0, "", false
	}
	line, _, _ := strings.Cut(string(text[:n]), "\n")
	number, cgroupParent, _ := strings.Cut(line, " ")
	if pid, err = strconv.Atoi(number); err != nil {
		pid = 0 // nobody
	}
	return pid, cgroupParent, true
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
// directory listing, and nine system calls per container that is active now;
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
		path := filepath.Join(e.leaseDir(), id)
		lock, err := lockLease(path)
		if err != nil {
			continue // alive, or just ended
		}
		if err := e.recover(ctx, id, newLease(lock, path)); err != nil {
			e.opt.Log.Warn("finish the work of a dead process", "container", id, "error", err)
		}
	}
}
