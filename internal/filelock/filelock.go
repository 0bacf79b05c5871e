// Package filelock provides advisory locks between processes, one per file.
//
// They are flock(2) locks: they belong to the open file, so that two opens in
// one process exclude each other too, and the kernel drops them when the last
// descriptor closes, however the holder died. That makes them berth's only
// locks: a killed process can never leave one behind.
package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ErrLocked is returned by TryLock when another open file holds the lock.
var ErrLocked = errors.New("locked by another process")

// Lock is a held lock; Unlock releases it.
type Lock struct{ f *os.File }

// Exclusive creates path if needed (mode 0600) and waits for the exclusive lock on it.
func Exclusive(path string) (*Lock, error) { return acquire(path, unix.LOCK_EX) }

// Shared creates path if needed and waits until no exclusive lock is held on it.
func Shared(path string) (*Lock, error) { return acquire(path, unix.LOCK_SH) }

// TryExclusive is Exclusive without waiting; it returns ErrLocked if the lock is taken.
func TryExclusive(path string) (*Lock, error) { return acquire(path, unix.LOCK_EX|unix.LOCK_NB) }

func acquire(path string, how int) (*Lock, error) {
	for {
		f, err := open(path)
		if err != nil {
			return nil, err
		}
		if err := flock(f, how); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, ErrLocked
			}
			return nil, &os.PathError{Op: "flock", Path: path, Err: err}
		}
		// A holder may have unlinked the file before releasing it: a lock on a
		// file that is no longer at path excludes nobody.
		var at, have unix.Stat_t
		if unix.Fstat(int(f.Fd()), &have) == nil && unix.Stat(path, &at) == nil && at.Ino == have.Ino && at.Dev == have.Dev {
			return &Lock{f}, nil
		}
		f.Close()
	}
}

// open is os.OpenFile without the registration for polling, which costs five
// system calls and is of no use to a lock.
func open(path string) (*os.File, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// File returns the locked file, for a holder that keeps data in it or hands
// the lock to a child process by inheritance.
func (l *Lock) File() *os.File { return l.f }

// Unlock releases the lock.
func (l *Lock) Unlock() error { return l.f.Close() }
