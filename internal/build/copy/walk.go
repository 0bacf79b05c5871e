package copy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"berth/internal/build/source"
	"berth/internal/errdefs"
)

// entry is a file on the walk.
type entry struct {
	dir  int    // open directory of the source that holds it
	name string // in dir, and in the destination
	st   unix.Stat_t
}

// visitor is told of each file that is selected, directories before what is in
// them, names in order. The directory that the walk starts from is not told of.
type visitor interface {
	file(e *entry) error
	enter(e *entry) error // a directory
	leave(e *entry) error // once all in it was told
}

// maxDepth bounds how deep directories may lie in each other: each costs two
// open descriptors. A path of the kernel has no more than 4096 bytes.
const maxDepth = 2048

// filter decides by the name relative to the directory that the walk starts from.
// selected: it is copied. below: something in it may be, so it must be read.
type filter func(rel string, isDir bool) (selected, below bool)

// walker goes through one directory of a source.
type walker struct {
	ctx    context.Context
	tree   *source.Tree
	filter filter // nil selects all
	to     visitor
	// waiting are directories above the present one that are not selected
	// themselves and have not been told of.
	waiting []*entry
	any     bool // something was told
}

// walk tells v of everything in the directory of p that is selected.
func walk(ctx context.Context, p *part, v visitor) error {
	w := &walker{ctx: ctx, tree: p.item.tree, filter: p.filter, to: v}
	err := w.directory(p.item.Dir, p.item.Name, p.item.Rel, "", 0)
	if err == nil && !w.any && p.required != "" {
		if _, err := p.item.tree.Find(p.required); err != nil {
			return err // it tells whether ignore rules hide it
		}
		return p.item.tree.NotFound(p.required, false)
	}
	return err
}

// directory goes through dir/name. real is its path for ignore rules, rel for the filter.
func (w *walker) directory(dir int, name, real, rel string, depth int) error {
	if depth > maxDepth {
		return errdefs.New(errdefs.Exhausted, "directories lie more than %d deep", maxDepth)
	}
	if err := context.Cause(w.ctx); err != nil {
		return &errdefs.Error{Kind: errdefs.Cancelled, Err: err}
	}
	fd, names, err := list(dir, name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var e entry
	for _, child := range names {
		e = entry{dir: fd, name: child}
		if err := w.tree.Stat(fd, child, &e.st); err != nil {
			if errors.Is(err, unix.ENOENT) {
				continue // gone since it was listed
			}
			return within(child, err)
		}
		if err := w.one(&e, real, rel, depth); err != nil {
			return within(child, err)
		}
	}
	return nil
}

// one deals with one file.
func (w *walker) one(e *entry, real, rel string, depth int) error {
	dir := isDir(&e.st)
	selected, below := true, dir
	if w.tree.Ignore != nil {
		real = join(real, e.name)
		ignored, skip := w.tree.Ignored(real, dir)
		selected, below = !ignored, dir && !skip
	}
	if w.filter != nil && (selected || below) {
		rel = join(rel, e.name)
		s, b := w.filter(rel, dir)
		selected, below = selected && s, below && b
	}
	if !selected && !below {
		return nil
	}
	if !dir {
		if err := w.tellWaiting(); err != nil {
			return err
		}
		return w.to.file(e)
	}
	own := *e // e is used again for the files below
	w.waiting = append(w.waiting, &own)
	if selected {
		if err := w.tellWaiting(); err != nil {
			return err
		}
	}
	if below {
		if err := w.directory(e.dir, e.name, real, rel, depth+1); err != nil {
			return err
		}
	}
	if n := len(w.waiting); n > 0 {
		w.waiting = w.waiting[:n-1] // nothing in it was selected
		return nil
	}
	return w.to.leave(&own)
}

// tellWaiting tells of the directories that the next file lies in.
func (w *walker) tellWaiting() error {
	w.any = true
	for _, e := range w.waiting {
		if err := w.to.enter(e); err != nil {
			return within(e.name, err)
		}
	}
	w.waiting = w.waiting[:0]
	return nil
}

// readNames lists an open directory without "." and "..".
func readNames(fd int) ([]string, error) {
	buf := make([]byte, 16<<10)
	var names []string
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n <= 0 || err != nil {
			return names, err
		}
		// struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name to its NUL
		for b := buf[:n]; len(b) >= 19; {
			length := int(binary.NativeEndian.Uint16(b[16:]))
			name, _, _ := bytes.Cut(b[19:length], []byte{0})
			if s := string(name); s != "." && s != ".." {
				names = append(names, s)
			}
			b = b[length:]
		}
	}
}
