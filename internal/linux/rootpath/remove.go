package rootpath

import (
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxDepth is how many directories a removal holds open at once. Deeper trees,
// which an image can hold in any depth, are cut: the deep part is renamed up
// into the directory that RemoveAll works in, and removed from there.
const maxDepth = 64

// RemoveAll removes name from the directory dir with everything below it. No
// link is followed. A missing name is no error.
func RemoveAll(dir int, name string) error {
	r := remover{top: dir}
	if err := r.remove(dir, name, 0); err != nil {
		return err
	}
	for len(r.cut) > 0 {
		next := r.cut[len(r.cut)-1]
		r.cut = r.cut[:len(r.cut)-1]
		if err := r.remove(dir, next, 0); err != nil {
			return err
		}
	}
	return nil
}

// RemoveChildren removes everything in the directory dir and leaves dir itself.
func RemoveChildren(dir int) error {
	fd, err := openDir(dir, ".")
	if err != nil {
		return &os.PathError{Op: "openat", Path: ".", Err: err}
	}
	d := os.NewFile(uintptr(fd), ".")
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := RemoveAll(fd, name); err != nil {
			return err
		}
	}
	return nil
}

type remover struct {
	top    int
	cut    []string // names in top that were moved there from below
	serial int
}

func (r *remover) remove(dir int, name string, depth int) error {
	err := unix.Unlinkat(dir, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	// EISDIR is Linux's answer for a directory; POSIX lets file systems say EPERM.
	if !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EPERM) {
		return &os.PathError{Op: "unlinkat", Path: name, Err: err}
	}
	first := err
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	} else if errors.Is(err, unix.ENOTDIR) {
		return &os.PathError{Op: "unlinkat", Path: name, Err: first}
	} else if !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "rmdir", Path: name, Err: err}
	}
	if depth >= maxDepth {
		return r.hoist(dir, name)
	}
	if err := r.children(dir, name, depth); err != nil {
		return err
	}
	if err := unix.Unlinkat(dir, name, unix.AT_REMOVEDIR); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "rmdir", Path: name, Err: err}
	}
	return nil
}

func (r *remover) children(dir int, name string, depth int) error {
	fd, err := openDir(dir, name)
	if errors.Is(err, unix.ENOENT) {
		return nil // another remover was faster
	}
	if err != nil {
		return &os.PathError{Op: "openat", Path: name, Err: err}
	}
	d := os.NewFile(uintptr(fd), name)
	defer d.Close()
	for {
		// A thousand names at a time, from the start again: removing while
		// reading on may skip entries on some file systems.
		names, err := d.Readdirnames(1024)
		if len(names) == 0 {
			// ENOENT: another remover was faster and has deleted the directory itself.
			if errors.Is(err, io.EOF) || errors.Is(err, unix.ENOENT) {
				return nil
			}
			return err
		}
		for _, child := range names {
			if err := r.remove(fd, child, depth+1); err != nil {
				return err
			}
		}
		if _, err := d.Seek(0, 0); err != nil {
			return err
		}
	}
}

// hoist moves dir/name up into the top directory under a new name.
func (r *remover) hoist(dir int, name string) error {
	for {
		r.serial++
		to := ".removing-" + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(r.serial)
		err := unix.Renameat2(dir, name, r.top, to, unix.RENAME_NOREPLACE)
		switch {
		case err == nil:
			r.cut = append(r.cut, to)
			return nil
		case !errors.Is(err, unix.EEXIST):
			return &os.LinkError{Op: "renameat2", Old: name, New: to, Err: err}
		}
	}
}

// openDir opens a directory for reading its entries; not through a link.
func openDir(dir int, name string) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
}
