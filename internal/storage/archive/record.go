package archive

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive/ustar"
)

// Recorder is told how a stream is put together while it is unpacked, so that
// the same bytes can be written again from the files: a tar cannot be guessed
// from a directory, since it has an order, forms of headers and padding of its own.
//
// The stream is the bytes that the calls of Literal and File stand for, one
// after another.
type Recorder interface {
	// Literal is called with bytes that are in no file: headers, padding, marks.
	// The slice is the caller's.
	Literal(p []byte)
	// File is called for the content of a regular file, which is about to be
	// written to path (relative to the root, without links). runs, if not nil,
	// are the parts of the file that the stream holds; nil: all of it.
	File(path string, size int64, runs []ustar.Extent)
	// Removed is called before a file that File was called for is removed: a later
	// entry of the same stream takes its place. The caller closes content.
	Removed(path string, content *os.File) error
}

// recordFile tells the recorder of the file parent/base, that is being made.
func (a *applier) recordFile(parent int, base string, size int64, runs []ustar.Extent, sparse bool) error {
	if a.o.Recorder == nil || size == 0 || sparse && len(runs) == 0 {
		return nil
	}
	dir, err := a.realPath(parent)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return nil // longer than procfs can tell: the content is recorded in place
	}
	if err != nil {
		return err
	}
	if !sparse {
		runs = nil
	}
	a.tar.Claim()
	a.o.Recorder.File(join(dir, base), size, runs)
	return nil
}

// recordRemoval gives the recorder the file parent/base, or all files below it.
func (a *applier) recordRemoval(parent int, base string) error {
	if a.o.Recorder == nil {
		return nil
	}
	dir, err := a.realPath(parent)
	if errors.Is(err, unix.ENAMETOOLONG) {
		return nil // nothing in there was claimed
	}
	if err != nil {
		return err
	}
	return a.removed(parent, base, join(dir, base))
}

func (a *applier) removed(dir int, base, path string) error {
	fd, err := openAt(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return pathError("openat", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("fstat", path, err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		content, err := rootpath.Reopen(fd, unix.O_RDONLY)
		if err != nil {
			return pathError("open", path, err)
		}
		f := os.NewFile(uintptr(content), path)
		defer f.Close()
		return a.o.Recorder.Removed(path, f)
	case unix.S_IFDIR:
		list, err := rootpath.Reopen(fd, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			return pathError("open", path, err)
		}
		defer unix.Close(list)
		names, err := new(dirReader).read(list)
		if err != nil {
			return pathError("getdents64", path, err)
		}
		for _, name := range names {
			if err := a.removed(list, name, join(path, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// realPath returns the path of an open directory below the root, without links:
// an entry "a/b" may lie elsewhere if "a" is one.
func (a *applier) realPath(fd int) (string, error) {
	var slot *dirSlot
	for i := range a.dirs.slots {
		if s := &a.dirs.slots[i]; s.used && s.fd == fd {
			if s.real != "" {
				return s.real[1:], nil
			}
			slot = s
		}
	}
	if a.realRoot == "" {
		root, err := rootpath.ReadLinkAt(unix.AT_FDCWD, rootpath.ProcPath(a.dirs.root))
		if err != nil {
			return "", pathError("readlink", ".", err)
		}
		a.realRoot = root
	}
	path, err := rootpath.ReadLinkAt(unix.AT_FDCWD, rootpath.ProcPath(fd))
	if err != nil {
		return "", pathError("readlink", ".", err)
	}
	rest, ok := strings.CutPrefix(path, a.realRoot)
	if !ok {
		return "", errdefs.New(errdefs.Conflict, "the directory %s was moved while it was filled", quote(a.realRoot))
	}
	rest = strings.TrimPrefix(rest, "/")
	if slot != nil {
		slot.real = "/" + rest
	}
	return rest, nil
}

func join(dir, base string) string {
	if dir == "" {
		return base
	}
	return dir + "/" + base
}
