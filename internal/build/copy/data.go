package copy

import (
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// smallFile is up to which size bytes go through our own memory: for a small
// file read and write cost less than asking the kernel to copy.
const smallFile = 64 << 10

var buffers = sync.Pool{New: func() any { b := make([]byte, smallFile); return &b }}

// copyData copies the bytes of a regular file. Large ones share their blocks
// with the source where the file system can (copy_file_range(2) does, on btrfs
// and xfs); holes stay holes.
func copyData(from, to int, st *unix.Stat_t) error {
	if st.Size > smallFile {
		if st.Blocks*512 < st.Size {
			if done, err := copySparse(from, to, st.Size); done || err != nil {
				return err
			}
		}
		if _, err := copyRange(from, to, -1); err != nil {
			return err
		}
	}
	// All of a small file, and what copyRange has left.
	return readWrite(from, to)
}

// copyRange lets the kernel copy up to length bytes, all there are if it is
// negative, at the present offsets of both. What it does not do between these
// two files it leaves: left is then what remains of length.
func copyRange(from, to int, length int64) (left int64, err error) {
	for length != 0 {
		step := int64(1 << 30)
		if length > 0 {
			step = min(step, length)
		}
		n, err := unix.CopyFileRange(from, nil, to, nil, int(step), 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP),
			errors.Is(err, unix.EPERM), errors.Is(err, unix.EIO):
			return length, nil // not between these two; a real error comes again from read or write
		case err != nil:
			return length, os.NewSyscallError("copy_file_range", err)
		case n == 0:
			return length, nil
		}
		if length > 0 {
			length -= int64(n)
		}
	}
	return 0, nil
}

func readWrite(from, to int) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := unix.Read(from, *buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if n == 0 {
			return nil
		}
		if err := write(to, (*buf)[:n]); err != nil {
			return err
		}
		if n < len(*buf) {
			return nil // a regular file reads short only at its end
		}
	}
}

func write(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("write", err)
		}
		p = p[max(n, 0):]
	}
	return nil
}

// copySparse copies the runs of data between the holes. done is false, and
// nothing was copied, if the file system does not tell where they are.
func copySparse(from, to int, size int64) (done bool, err error) {
	for at := int64(0); at < size; {
		start, err := unix.Seek(from, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // a hole up to the end
		}
		if errors.Is(err, unix.EINVAL) && at == 0 {
			return false, nil
		}
		if err != nil {
			return true, os.NewSyscallError("lseek", err)
		}
		end, err := unix.Seek(from, start, unix.SEEK_HOLE)
		if err != nil {
			return true, os.NewSyscallError("lseek", err)
		}
		if err := copyRun(from, to, start, end); err != nil {
			return true, err
		}
		at = end
	}
	return true, os.NewSyscallError("ftruncate", unix.Ftruncate(to, size))
}

// copyRun copies the bytes from start to end.
func copyRun(from, to int, start, end int64) error {
	if _, err := unix.Seek(from, start, io.SeekStart); err != nil {
		return os.NewSyscallError("lseek", err)
	}
	if _, err := unix.Seek(to, start, io.SeekStart); err != nil {
		return os.NewSyscallError("lseek", err)
	}
	left, err := copyRange(from, to, end-start)
	if err != nil {
		return err
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for left > 0 {
		n, err := unix.Read(from, (*buf)[:min(left, int64(len(*buf)))])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if n == 0 {
			return nil // it was cut meanwhile
		}
		if err := write(to, (*buf)[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
