package container

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
)

// Files of the store are reached from the descriptor of their directory: paths
// are resolved once, and ps makes three system calls per container.

// retry calls f again while a signal interrupts it.
func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openAt(dir int, name string, flags int) (fd int, err error) {
	err = retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_CLOEXEC, filePerm)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return fd, nil
}

func openDir(path string) (int, error) {
	return openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY)
}

// asNotFound tells a missing container from other trouble with its directory.
func asNotFound(err error, id string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return notFound(id)
	}
	return errdefs.Wrap(err, "open container", id)
}

// readAt appends a whole file to buf.
func readAt(dir int, name string, buf []byte) ([]byte, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY)
	if err != nil {
		return buf, err
	}
	defer unix.Close(fd)
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, stateBlock)
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return buf, &fs.PathError{Op: "read", Path: name, Err: err}
		}
		end := n < cap(buf)-len(buf) // a file gives less than asked for at its end only
		if buf = buf[:len(buf)+n]; end {
			return buf, nil
		}
	}
}

// lock is the exclusive right to change a container: flock(2) on its directory.
type lock struct{ dir int }

func (l lock) release() { unix.Close(l.dir) }

// errLocked is returned by tryLock for a container that somebody is changing.
var errLocked = errors.New("locked")

// lock waits for the right to change a container. That the container still
// exists is for the caller to see: its state file is there or not, and no
// directory of that id is ever made again.
func (s *Store) lock(id string) (lock, error) { return s.flock(id, unix.LOCK_EX) }

func (s *Store) tryLock(id string) (lock, error) { return s.flock(id, unix.LOCK_EX|unix.LOCK_NB) }

func (s *Store) flock(id string, how int) (lock, error) {
	dir, err := openDir(s.Dir(id))
	if err != nil {
		return lock{}, asNotFound(err, id)
	}
	if err := retry(func() error { return unix.Flock(dir, how) }); err != nil {
		unix.Close(dir)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return lock{}, errLocked
		}
		return lock{}, &fs.PathError{Op: "flock", Path: s.Dir(id), Err: err}
	}
	return lock{dir}, nil
}

// stateBlock is the size of a read buffer that holds most states; stateSlack is
// how much a state may grow and still find its room allocated.
const (
	stateBlock = 4096
	stateSlack = 512
)

// writeState replaces the state of a container whose lock is held.
//
// A full disk must not keep a container from being stopped, so that after the
// first change no write needs new room: two files take turns. The new state is
// written over the older one, state.next, whose blocks it reuses, and
// renameat2(RENAME_EXCHANGE) swaps the names. For other processes that is as
// atomic as a rename; only a reader that held state.json open during two
// changes can meet a half-written text, and notices by its checksum.
func writeState(dir int, st *State, d atomicfile.Durability) error {
	var buf [2048]byte
	text := appendState(buf[:0], st)
	fd, err := openAt(dir, nextFile, unix.O_WRONLY|unix.O_CREAT)
	if err != nil {
		return err
	}
	err = overwrite(fd, text)
	if err == nil && d == atomicfile.Durable {
		err = os.NewSyscallError("fdatasync", unix.Fdatasync(fd))
	}
	unix.Close(fd)
	if err != nil {
		return err
	}
	err = unix.Renameat2(dir, nextFile, dir, stateFile, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = unix.Renameat(dir, nextFile, dir, stateFile) // the first state, or a file system without exchange
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: nextFile, New: stateFile, Err: err}
	}
	if d == atomicfile.Durable {
		return os.NewSyscallError("fsync", unix.Fsync(dir))
	}
	return nil
}

// overwrite makes text the content of a file without giving up any of its
// blocks: a longer content is covered by blanks, which JSON allows at the end.
func overwrite(fd int, text []byte) error {
	var have unix.Stat_t
	if err := unix.Fstat(fd, &have); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if blank := int(have.Size) - len(text); blank > 0 {
		text = slices.Concat(text[:len(text)-1], bytes.Repeat([]byte{' '}, blank), []byte{'\n'})
	} else if block := max(int(have.Blksize), 1); (len(text)+stateSlack)/block > len(text)/block {
		// Near the end of its blocks: take more while there are some. Not all
		// file systems can, and then the write itself is the test.
		unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, int64(len(text)+stateSlack)) //nolint:errcheck // see above
	}
	for at := 0; at < len(text); {
		n, err := unix.Pwrite(fd, text[at:], int64(at))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("pwrite", err)
		}
		at += max(n, 0)
	}
	return nil
}

// readState reads the state of a container from its directory, which need not
// be locked. A text that is being overwritten is read again; one that stays
// damaged is taken from what else is there.
func (s *Store) readState(dir int, id string, buf []byte) (State, error) {
	var text []byte
	const attempts = 3
	for range attempts {
		var err error
		if text, err = readAt(dir, stateFile, buf[:0]); err != nil {
			return State{}, asNotFound(err, id)
		}
		if st, whole, err := parseState(text); err == nil && whole && st.ID == id {
			return st, nil
		}
	}
	return s.salvage(dir, id, text)
}
