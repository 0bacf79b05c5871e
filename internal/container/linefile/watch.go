package linefile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// watch wakes a reader when something happens in the directory of its file.
type watch struct {
	inotify int // -1: not to be had; then the reader looks now and then
	wake    int // eventfd written when the context ends
	stop    func() bool
}

// How long a reader sleeps at most: what Ended looks at need not be in the directory.
const (
	watchedPause   = 500 * time.Millisecond
	unwatchedPause = 50 * time.Millisecond
)

// newWatch watches the directory, not the file: rotation makes new files. A
// directory that does not exist yet is not watched.
func newWatch(ctx context.Context, path string) *watch {
	w := &watch{inotify: -1, wake: -1, stop: func() bool { return true }}
	if fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err == nil {
		w.inotify = fd
		if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MODIFY|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE); err != nil {
			unix.Close(fd)
			w.inotify = -1
		}
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return w
	}
	w.wake = wake
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) //nolint:errcheck // a counter at its maximum wakes as well
	})
	w.stop = func() bool {
		if stop() {
			return true
		}
		<-done // the descriptor must not be closed, and used again, under its writer
		return false
	}
	return w
}

// wait returns when there may be something new, or with the context's error.
func (w *watch) wait(ctx context.Context) error {
	pause := watchedPause
	if w.inotify < 0 {
		pause = unwatchedPause
	}
	fds := []unix.PollFd{{Fd: int32(w.inotify), Events: unix.POLLIN}, {Fd: int32(w.wake), Events: unix.POLLIN}} // poll(2) passes over negative ones
	if _, err := unix.Poll(fds, int(pause.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("poll", err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if fds[0].Revents != 0 {
		var events [4096]byte
		unix.Read(w.inotify, events[:]) //nolint:errcheck // what happened is seen by looking; unread events only wake again
	}
	return nil
}

func (w *watch) close() {
	w.stop()
	for _, fd := range []int{w.inotify, w.wake} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}
