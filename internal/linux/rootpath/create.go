package rootpath

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the dangling links that MkdirAll follows, as the kernel's own limit does.
const maxLinks = 40

// MkdirAll makes the directory path inside root with all its parents, mode
// perm less the umask, and returns an O_PATH descriptor of it. What exists is
// left as it is. Symbolic links are followed inside root, also dangling ones,
// whose target is made: it is what a process with that root would see.
func MkdirAll(root *os.File, path string, perm uint32) (*os.File, error) {
	links := 0
	fd, err := mkdirAll(int(root.Fd()), path, perm, &links)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// mkdirAll resolves the whole text of path from root at every step: a path must
// not be shortened by its words ("a/.." is not "." if a is a link).
func mkdirAll(root int, path string, perm uint32, links *int) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY
	fd, err := OpenAt(root, path, flags, 0)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	dir, base := SplitLast(path)
	if base == "" {
		return -1, err
	}
	parent, err := mkdirAll(root, dir, perm, links)
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if base == "." || base == ".." {
		return OpenAt(root, path, flags, 0)
	}
	if err := unix.Mkdirat(parent, base, perm); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, &os.PathError{Op: "mkdirat", Path: path, Err: err}
	}
	fd, err = OpenAt(root, path, flags, 0)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	target, lerr := ReadLinkAt(parent, base)
	if lerr != nil {
		return -1, err
	}
	if *links++; *links > maxLinks {
		return -1, &os.PathError{Op: "mkdirat", Path: path, Err: unix.ELOOP}
	}
	if !strings.HasPrefix(target, "/") {
		target = dir + "/" + target
	}
	return mkdirAll(root, target, perm, links)
}

// Create makes the regular file path, which must not exist, and opens it for
// writing. Its parent must exist. A dangling link at path counts as existing.
func Create(root *os.File, path string, perm uint32) (*os.File, error) {
	return Open(root, path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, perm)
}

// Parent opens the directory that holds the last element of path, as an O_PATH
// descriptor, and returns it with that element. A path without one ("/", "a/..",
// "") is that directory itself, with the element ".".
func Parent(root *os.File, path string) (*os.File, string, error) {
	dir, base := SplitLast(path)
	if base == "" || base == "." || base == ".." {
		dir, base = path, "."
	}
	f, err := Open(root, dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	return f, base, err
}

// SplitLast splits path before its last element by its words alone, ignoring
// trailing slashes: "/a/b/" is "/a" and "b", "a" is "" and "a", "/" is "" and "".
func SplitLast(path string) (dir, base string) {
	path = strings.TrimRight(path, "/")
	i := strings.LastIndexByte(path, '/')
	return strings.TrimRight(path[:i+1], "/"), path[i+1:]
}
