package cgroup

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// OOMWatch keeps the count of OOMKills of a group that somebody else removes as
// soon as it is empty, as systemd does with a scope: the kernel tells of every
// change of memory.events (inotify(7)), which is before the process that it
// kills has ended, and so before the group is empty.
type OOMWatch struct {
	inotify *os.File
	count   func() (int64, error)
	seen    atomic.Int64
}

// WatchOOM begins to watch, on v2 only: there are no such notices on v1, where
// no one removes groups either.
func (g *Group) WatchOOM() (*OOMWatch, error) {
	if g.host.Version != V2 {
		return nil, os.ErrInvalid
	}
	return watchOOM(g.Path("memory")+"/memory.events", g.OOMKills)
}

func watchOOM(path string, count func() (int64, error)) (*OOMWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if _, err := unix.InotifyAddWatch(fd, path, unix.IN_MODIFY); err != nil {
		unix.Close(fd)
		return nil, &os.PathError{Op: "inotify_add_watch", Path: path, Err: err}
	}
	w := &OOMWatch{inotify: os.NewFile(uintptr(fd), "inotify"), count: count}
	go func() {
		var events [4096]byte
		for {
			if _, err := w.inotify.Read(events[:]); err != nil {
				return // closed
			}
			w.look()
		}
	}()
	return w, nil
}

func (w *OOMWatch) look() {
	if n, err := w.count(); err == nil && n > w.seen.Load() {
		w.seen.Store(n)
	}
}

// Kills returns the count, or the last that was seen if the group is gone.
func (w *OOMWatch) Kills() int64 {
	w.look()
	return w.seen.Load()
}

// Close ends the watch.
func (w *OOMWatch) Close() error { return w.inotify.Close() }
