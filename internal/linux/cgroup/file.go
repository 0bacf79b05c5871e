package cgroup

import (
	"encoding/binary"
	"io/fs"

	"golang.org/x/sys/unix"
)

// Control files are written by one open, one write and one close: os.File would
// add an fstat, a poller registration and a finalizer to each.

// pathError returns err as a PathError, which says what was tried on which file.
func pathError(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// openRetry opens path below dirfd, again if a signal came in between.
func openRetry(dirfd int, path string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, path, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// writeFD writes value by one write(2): the kernel takes a setting whole or not at all.
func writeFD(fd int, value string) error {
	for {
		_, err := unix.Write(fd, []byte(value))
		if err != unix.EINTR {
			return err
		}
	}
}

// write sets an existing control file.
func write(path, value string) error {
	fd, err := openRetry(unix.AT_FDCWD, path, unix.O_WRONLY)
	if err != nil {
		return pathError("open", path, err)
	}
	err = writeFD(fd, value)
	unix.Close(fd)
	return pathError("write", path, err)
}

// readAt appends the content of a control file below dirfd to buf.
func readAt(dirfd int, path string, buf []byte) ([]byte, error) {
	fd, err := openRetry(dirfd, path, unix.O_RDONLY)
	if err != nil {
		return buf, pathError("open", path, err)
	}
	defer unix.Close(fd)
	for {
		if cap(buf)-len(buf) < 256 {
			buf = append(buf, make([]byte, 4096)...)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return buf, pathError("read", path, err)
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}

// read appends the content of a control file to buf.
func read(path string, buf []byte) ([]byte, error) { return readAt(unix.AT_FDCWD, path, buf) }

// exists reports whether path is there.
func exists(path string) bool { return unix.Access(path, unix.F_OK) == nil }

// mkdir makes a group's directory.
func mkdir(path string) error {
	for {
		if err := unix.Mkdir(path, 0o755); err != unix.EINTR {
			return err
		}
	}
}

// direntHeader is the fixed part of struct linux_dirent64: inode, offset, record length, type.
const direntHeader = 8 + 8 + 2 + 1

// subdirs returns the names of the directories in an open directory. The type
// is in the directory entry, so nothing is looked up.
func subdirs(fd int) ([]string, error) {
	var names []string
	buf := make([]byte, 4096)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return names, err
		}
		for b := buf[:n]; len(b) > direntHeader; {
			size := int(binary.NativeEndian.Uint16(b[16:]))
			if size <= direntHeader || size > len(b) {
				return names, unix.EIO
			}
			if b[18] == unix.DT_DIR {
				if name := unix.ByteSliceToString(b[direntHeader:size]); name != "." && name != ".." {
					names = append(names, name)
				}
			}
			b = b[size:]
		}
	}
}
