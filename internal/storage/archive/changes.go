package archive

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// The kinds of a Change, by the letters that `docker diff` prints.
const (
	Modified byte = 'C'
	Added    byte = 'A'
	Deleted  byte = 'D'
)

// Change is one path that differs from the layers below.
type Change struct {
	Kind byte
	Path string // absolute inside the container
}

// Changes compares the upper directory of an overlay with the layers below it,
// topmost first, and returns what a container changed, sorted by path.
//
// The rules are those of `docker diff`: a path that was not there is A, one
// that is gone is D, one whose kind, mode, owner, size or mtime differs is C (of
// a directory size and mtime do not count), and so is every directory with a
// change below it. Nothing is told of what is below a deleted directory. A file
// or directory that overlay merely copied up, without any change, is not listed.
func Changes(ctx context.Context, upper string, lowers []string) ([]Change, error) {
	c := &comparer{ctx: ctx}
	var dirs []int
	defer func() { closeAll(dirs) }()
	for _, path := range append([]string{upper}, lowers...) {
		fd, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
		dirs = append(dirs, fd)
	}
	if err := c.directory(dirs[0], dirs[1:], "", false); err != nil {
		return nil, errdefs.Wrap(err, "compare", upper)
	}
	slices.SortFunc(c.found, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return c.found, nil
}

// comparer is one run of Changes.
type comparer struct {
	ctx   context.Context
	names dirReader
	found []Change
}

// directory compares the directory upper with those of the same path in the
// layers below that are merged there. In an opaque one, and in all below it,
// nothing of the lower layers shows through.
func (c *comparer) directory(upper int, lowers []int, path string, opaque bool) error {
	if err := context.Cause(c.ctx); err != nil {
		return &errdefs.Error{Kind: errdefs.Cancelled, Err: err}
	}
	names, err := c.names.read(upper)
	if err != nil {
		return pathError("getdents64", path, err)
	}
	opaque = opaque || len(lowers) > 0 && isOpaque(upper)
	for _, name := range names {
		if err := c.entry(upper, lowers, name, path+"/"+name, opaque); err != nil {
			return err
		}
	}
	if !opaque {
		return nil
	}
	// What the layers below have and upper has not is deleted.
	below, err := c.merged(lowers)
	if err != nil {
		return err
	}
	for _, name := range below {
		if _, has := slices.BinarySearch(names, name); !has {
			c.found = append(c.found, Change{Deleted, path + "/" + name})
		}
	}
	return nil
}

// entry compares one name.
func (c *comparer) entry(upper int, lowers []int, name, path string, opaque bool) error {
	var now, old unix.Stat_t
	if err := fstatAt(upper, name, &now); err != nil {
		return err
	}
	from, err := lookup(lowers, name, &old)
	if err != nil {
		return err
	}
	if isWhiteout(&now) {
		if from >= 0 { // else it hides nothing, as after "create, delete" where a lower layer had it deleted already
			c.found = append(c.found, Change{Deleted, path})
		}
		return nil
	}
	mark := len(c.found)
	if now.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := c.below(upper, lowers, from, &old, name, path, opaque); err != nil {
			return err
		}
	}
	switch {
	case from < 0:
		c.found = append(c.found, Change{Added, path})
	case len(c.found) > mark || differ(&old, &now) || !sameCapability(lowers[from], upper, name, &now):
		c.found = append(c.found, Change{Modified, path})
	}
	return nil
}

// below goes into the directory name of upper, with those of the lower layers that it is merged with.
func (c *comparer) below(upper int, lowers []int, from int, old *unix.Stat_t, name, path string, opaque bool) error {
	fd, err := openAt(upper, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil // gone or replaced meanwhile
	}
	if err != nil {
		return pathError("openat", path, err)
	}
	defer unix.Close(fd)
	var merged []int
	defer func() { closeAll(merged) }()
	if from >= 0 && old.Mode&unix.S_IFMT == unix.S_IFDIR {
		if merged, err = mergedDirs(lowers[from:], name); err != nil {
			return err
		}
	}
	return c.directory(fd, merged, path, opaque)
}

// merged returns the names that the directories together show, sorted.
func (c *comparer) merged(dirs []int) ([]string, error) {
	var shown []string
	seen := map[string]bool{}
	for _, dir := range dirs {
		names, err := c.names.read(dir)
		if err != nil {
			return nil, pathError("getdents64", ".", err)
		}
		for _, name := range names {
			if seen[name] {
				continue
			}
			seen[name] = true
			var st unix.Stat_t
			if err := fstatAt(dir, name, &st); err != nil {
				return nil, err
			}
			if !isWhiteout(&st) {
				shown = append(shown, name)
			}
		}
	}
	slices.Sort(shown)
	return shown, nil
}

// lookup finds name in the topmost of the directories that has it and returns
// its index, or -1 if none has it or a whiteout hides it.
func lookup(dirs []int, name string, st *unix.Stat_t) (int, error) {
	for i, dir := range dirs {
		err := fstatAt(dir, name, st)
		switch {
		case errors.Is(err, unix.ENOENT):
		case err != nil:
			return -1, err
		case isWhiteout(st):
			return -1, nil
		default:
			return i, nil
		}
	}
	return -1, nil
}

// mergedDirs opens the directories called name that overlay merges: from the
// first one down to where a layer has something else of that name, or an opaque one.
func mergedDirs(dirs []int, name string) (open []int, err error) {
	for _, dir := range dirs {
		fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		switch {
		case errors.Is(err, unix.ENOENT):
			continue
		case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			return open, nil
		case err != nil:
			closeAll(open)
			return nil, pathError("openat", name, err)
		}
		if open = append(open, fd); isOpaque(fd) {
			return open, nil
		}
	}
	return open, nil
}

// differ compares as Docker does. Of times, as a tar may have cut off the
// fraction of a second, whole seconds count if one of the two has no fraction.
func differ(old, now *unix.Stat_t) bool {
	if old.Mode != now.Mode || old.Uid != now.Uid || old.Gid != now.Gid || old.Rdev != now.Rdev {
		return true
	}
	if now.Mode&unix.S_IFMT == unix.S_IFDIR {
		return false
	}
	sameTime := old.Mtim.Sec == now.Mtim.Sec && (old.Mtim.Nsec == now.Mtim.Nsec || old.Mtim.Nsec == 0 || now.Mtim.Nsec == 0)
	return old.Size != now.Size || !sameTime
}

// sameCapability compares the file capabilities of a regular file.
func sameCapability(lower, upper int, name string, now *unix.Stat_t) bool {
	if now.Mode&unix.S_IFMT != unix.S_IFREG {
		return true
	}
	return capability(lower, name) == capability(upper, name)
}

func capability(dir int, name string) string {
	var buf [64]byte
	n, err := unix.Lgetxattr(rootpath.ProcPath(dir)+"/"+name, "security.capability", buf[:])
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func isOpaque(dir int) bool {
	var buf [2]byte
	for _, prefix := range [...]string{xattrTrusted, xattrUser} {
		if n, err := unix.Fgetxattr(dir, prefix+"opaque", buf[:]); err == nil && n == 1 && buf[0] == 'y' {
			return true
		}
	}
	return false
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
