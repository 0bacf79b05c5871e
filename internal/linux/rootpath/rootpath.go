// Package rootpath opens paths inside a directory tree that somebody hostile
// may write: a container's root, an image layer, a volume.
//
// Inside such a tree a path is a trap: "etc/passwd" may be a symbolic link to
// the host's /etc/shadow, and a directory that was checked may be a link by the
// time it is used. The only safe way is to let the kernel resolve the path
// within a given root, in one step, and to work on the descriptor that comes
// back. openat2(2) with RESOLVE_IN_ROOT does it: "/" and ".." mean the root, as
// after chroot(2), without the process changing its own root.
// RESOLVE_NO_MAGICLINKS refuses the links of procfs (/proc/PID/root,
// /proc/PID/fd/N), which lead out of any root.
//
// Every function takes the root as an open directory, so that the tree stays
// the same one however its own path is renamed meanwhile. Needs Linux 5.6.
package rootpath

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// resolve is how every path of this package is walked.
const resolve = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// OpenRoot opens the directory dir, a path of the host, as a root for the other functions.
func OpenRoot(dir string) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// Open opens path inside root; flags and perm are those of openat2(2). A last
// element that is a symbolic link is followed inside root unless flags hold O_NOFOLLOW.
//
// Opening a FIFO waits for its other end, and opening a device may act on it:
// unless the kind of file is known, open with O_PATH and look first, as OpenRegular does.
func Open(root *os.File, path string, flags int, perm uint32) (*os.File, error) {
	fd, err := OpenAt(int(root.Fd()), path, flags, perm)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenAt is Open on bare descriptors, for callers that open thousands.
// The new descriptor is close-on-exec.
func OpenAt(root int, path string, flags int, perm uint32) (int, error) {
	if path == "" {
		path = "."
	}
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Mode: uint64(perm), Resolve: resolve}
	// EAGAIN: a rename or mount anywhere on the system while ".." was walked, so
	// that the kernel cannot promise the result is inside. Trying again is the
	// documented answer; the pause keeps a rename storm from making this a busy loop.
	for try := 0; ; try++ {
		fd, err := unix.Openat2(root, path, &how)
		switch {
		case err == nil:
			return fd, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) && try < 512:
			if try > 32 {
				time.Sleep(100 * time.Microsecond)
			}
		case errors.Is(err, unix.ENOSYS):
			return -1, (&errdefs.Error{Kind: errdefs.Unsupported, Op: "open", Subject: path, Err: &os.PathError{Op: "openat2", Path: path, Err: err}}).
				WithHint("berth needs Linux 5.6 or newer, and a sandbox around it must allow openat2")
		default:
			return -1, &os.PathError{Op: "openat2", Path: path, Err: err}
		}
	}
}

// OpenRegular opens the regular file at path for reading, following links
// inside root. Anything else there (a FIFO, a device, a directory) is an error,
// found without opening it.
func OpenRegular(root *os.File, path string) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	pinned, err := OpenAt(int(root.Fd()), path, unix.O_PATH, 0)
	if err != nil {
		return nil, st, err
	}
	defer unix.Close(pinned)
	if err := unix.Fstat(pinned, &st); err != nil {
		return nil, st, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, st, errdefs.New(errdefs.InvalidArgument, "%s is not a regular file", path)
	}
	fd, err := Reopen(pinned, unix.O_RDONLY)
	if err != nil {
		return nil, st, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), st, nil
}

// ReadFile returns the content of the regular file at path, of at most limit
// bytes: a larger one is an Exhausted error, told from its size before it is read.
func ReadFile(root *os.File, path string, limit int64) ([]byte, error) {
	f, st, err := OpenRegular(root, path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The file may grow while it is read, so the limit holds for both.
	buf := make([]byte, 0, min(st.Size, limit)+1)
	for st.Size <= limit {
		n, err := retry(func() (int, error) { return unix.Read(int(f.Fd()), buf[len(buf):cap(buf)]) })
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return buf, nil
		}
		if buf = buf[:len(buf)+n]; int64(len(buf)) > limit {
			break
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
	return nil, errdefs.New(errdefs.Exhausted, "%s is larger than %d bytes", path, limit)
}

// Lstat describes path itself, also if it is a symbolic link; links before the last element are followed.
func Lstat(root *os.File, path string) (unix.Stat_t, error) { return stat(root, path, unix.O_NOFOLLOW) }

// Stat describes what path leads to inside root.
func Stat(root *os.File, path string) (unix.Stat_t, error) { return stat(root, path, 0) }

func stat(root *os.File, path string, flag int) (unix.Stat_t, error) {
	var st unix.Stat_t
	fd, err := OpenAt(int(root.Fd()), path, unix.O_PATH|flag, 0)
	if err != nil {
		return st, err
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return st, &os.PathError{Op: "fstat", Path: path, Err: err}
	}
	return st, nil
}

// ReadLink returns the target of the symbolic link at path.
func ReadLink(root *os.File, path string) (string, error) {
	fd, err := OpenAt(int(root.Fd()), path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	target, err := ReadLinkAt(fd, "")
	if err != nil {
		return "", &os.PathError{Op: "readlinkat", Path: path, Err: err}
	}
	return target, nil
}

// ReadLinkAt returns the target of the link name in dir; with an empty name,
// of the link that dir itself is an O_PATH descriptor of.
func ReadLinkAt(dir int, name string) (string, error) {
	for size := 256; ; size *= 2 {
		buf := make([]byte, size)
		n, err := retry(func() (int, error) { return unix.Readlinkat(dir, name, buf) })
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// Reopen opens what an O_PATH descriptor refers to. The way leads through the
// caller's own procfs, so it must not be used where /proc is not trusted.
func Reopen(fd, flags int) (int, error) {
	path := ProcPath(fd)
	return retry(func() (int, error) { return unix.Open(path, flags|unix.O_CLOEXEC, 0) })
}

// ProcPath names the file that fd refers to, for system calls that take only a path.
func ProcPath(fd int) string {
	var buf [32]byte
	const prefix = "/proc/self/fd/"
	i := len(buf)
	for {
		i--
		buf[i] = byte('0' + fd%10)
		if fd /= 10; fd == 0 {
			break
		}
	}
	return prefix + string(buf[i:])
}

// retry calls f again while a signal interrupts it.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
