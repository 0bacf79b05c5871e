package copy

import (
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/source"
	"berth/internal/linux/rootpath"
)

// target is the tree that is copied into.
type target struct {
	root    *os.File
	chmod   *Chmod
	owner   *Owner
	created *time.Time
	// made are the parents that were made, whose times are set at the end.
	made  []string
	parts int // how many were put
}

// resolve follows the links of a path of the target.
func (t *target) resolve(path string) (string, error) {
	return source.Resolve(t.root, path, nil)
}

// makeDirs opens the directory path for reading, after making what of it is
// missing: with the mode and the owner of --chown. Links are followed inside
// the target, also those to what is not there yet.
func (t *target) makeDirs(path string, mode uint32) (int, error) {
	real, err := t.resolve(path)
	if err != nil {
		return -1, err
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW
	fd, err := rootpath.OpenAt(int(t.root.Fd()), real, flags, 0)
	if err == nil || !errors.Is(err, unix.ENOENT) {
		return fd, mkdirError(path, err)
	}
	if fd, err = rootpath.OpenAt(int(t.root.Fd()), ".", flags, 0); err != nil {
		return -1, err
	}
	for i, name := range strings.Split(real, "/") {
		next, made, err := t.makeDir(fd, name, mode)
		unix.Close(fd)
		if err != nil {
			return -1, mkdirError(path, err)
		}
		if fd = next; made {
			t.made = append(t.made, strings.Join(strings.Split(real, "/")[:i+1], "/"))
		}
	}
	return fd, nil
}

// makeDir makes one parent, if it is missing, and opens it.
func (t *target) makeDir(parent int, name string, mode uint32) (fd int, made bool, err error) {
	err = unix.Mkdirat(parent, name, 0o700)
	if made = err == nil; !made && !errors.Is(err, unix.EEXIST) {
		return -1, false, err
	}
	fd, err = rootpath.OpenAt(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil || !made {
		return fd, false, err
	}
	if t.owner != nil {
		err = unix.Fchown(fd, int(t.owner.UID), int(t.owner.GID))
	}
	if err == nil {
		err = unix.Fchmod(fd, mode)
	}
	if err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	return fd, true, nil
}

func mkdirError(path string, err error) error {
	if err == nil {
		return nil
	}
	var p *os.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &os.PathError{Op: "mkdir", Path: path, Err: err}
}

// finish gives the parents that were made the time that was asked for, which
// making files in them has changed.
func (t *target) finish() error {
	if t.created == nil {
		return nil
	}
	for i := len(t.made) - 1; i >= 0; i-- {
		fd, err := rootpath.OpenAt(int(t.root.Fd()), t.made[i], unix.O_PATH|unix.O_NOFOLLOW, 0)
		if errors.Is(err, unix.ENOENT) {
			continue // an archive replaced it
		}
		if err != nil {
			return err
		}
		err = t.setTimes(fd, "", nil)
		unix.Close(fd)
		if err != nil {
			return err
		}
	}
	return nil
}

// setTimes sets the times of name in dir, of dir itself with an empty name: to
// those of st, unless the instruction has a time of its own.
func (t *target) setTimes(dir int, name string, st *unix.Stat_t) error {
	var times [2]unix.Timespec
	if t.created != nil {
		ts, err := unix.TimeToTimespec(*t.created)
		if err != nil {
			return err
		}
		times[0], times[1] = ts, ts
	} else {
		times[0], times[1] = st.Atim, st.Mtim
	}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	return os.NewSyscallError("utimensat", unix.UtimesNanoAt(dir, name, times[:], flags))
}
