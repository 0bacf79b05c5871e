package copy

import (
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// item is one thing that a path of the instruction names.
type item struct {
	source.Found
	tree *source.Tree
	// as is the last name of the path as it was written: what a file is called
	// in a directory. A link that was followed keeps its own name.
	as string
	// matched tells that a wildcard chose it, not a name.
	matched bool
}

func (it *item) isDir() bool { return isDir(&it.Stat) }

// entry is the item as a file on the walk.
func (it *item) entry() *entry { return &entry{dir: it.Dir, name: it.Name, st: it.Stat} }

func isDir(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR }

// expand finds what a path names, in the order of the names. A path without
// wildcards must exist; one with wildcards may name nothing. The caller closes the items.
func expand(t *source.Tree, name string) ([]item, error) {
	fixed, pattern := splitWildcards(name)
	if len(pattern) == 0 {
		f, err := t.Find(fixed)
		if err != nil {
			return nil, err
		}
		it := item{Found: f, tree: t, as: path.Base(path.Join("/", name))}
		if err := it.mustShow(fixed); err != nil {
			f.Close()
			return nil, err
		}
		return []item{it}, nil
	}
	for _, element := range pattern {
		if _, err := path.Match(element, ""); err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "%q: %w", name, err).
				WithHint(`close the bracket, or write [[] for a bracket in a name`)
		}
	}
	base, err := t.Find(fixed)
	if err != nil {
		if errdefs.KindOf(err) == errdefs.NotFound {
			return nil, nil
		}
		return nil, err
	}
	defer base.Close()
	if !isDir(&base.Stat) {
		return nil, nil
	}
	names, err := match(t, base.Rel, pattern)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, rel := range names {
		f, err := t.Find(rel)
		if errdefs.KindOf(err) == errdefs.NotFound {
			continue // a link to nothing, or gone by now
		}
		if err != nil {
			closeAll(items)
			return nil, err
		}
		items = append(items, item{Found: f, tree: t, as: path.Base(rel), matched: true})
	}
	return items, nil
}

func closeAll(items []item) {
	for i := range items {
		items[i].Close()
	}
}

// mustShow refuses a directory that is ignored with everything in it.
func (it *item) mustShow(name string) error {
	if !it.isDir() {
		return nil
	}
	if ignored, _ := it.tree.Ignored(it.Rel, true); !ignored {
		return nil
	}
	any, err := anyShown(it.tree, it.Dir, it.Name, it.Rel)
	if err == nil && !any {
		err = it.tree.NotFound(name, true)
	}
	return err
}

// anyShown reports whether something in the ignored directory is not ignored.
func anyShown(t *source.Tree, dir int, name, rel string) (bool, error) {
	fd, names, err := list(dir, name)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	for _, n := range names {
		var st unix.Stat_t
		if err := t.Stat(fd, n, &st); err != nil {
			return false, err
		}
		ignored, skip := t.Ignored(join(rel, n), isDir(&st))
		if !ignored {
			return true, nil
		}
		if skip || !isDir(&st) {
			continue
		}
		if any, err := anyShown(t, fd, n, join(rel, n)); any || err != nil {
			return any, err
		}
	}
	return false, nil
}

// match returns the paths below the directory rel whose elements match those of
// pattern, sorted. Links on the way are not followed, so that no file is found twice.
func match(t *source.Tree, rel string, pattern []string) ([]string, error) {
	dir, err := rootpath.OpenAt(int(t.Root().Fd()), rel, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	fd, names, err := list(dir, ".")
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var found []string
	for _, name := range names {
		if ok, _ := path.Match(pattern[0], name); !ok {
			continue
		}
		var st unix.Stat_t
		if err := t.Stat(fd, name, &st); err != nil {
			return nil, err
		}
		here := join(rel, name)
		ignored, skip := t.Ignored(here, isDir(&st))
		if ignored && (skip || !isDir(&st)) {
			continue
		}
		if len(pattern) > 1 {
			if isDir(&st) {
				below, err := match(t, here, pattern[1:])
				if err != nil {
					return nil, err
				}
				found = append(found, below...)
			}
			continue
		}
		if ignored {
			if any, err := anyShown(t, fd, name, here); err != nil || !any {
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		found = append(found, here)
	}
	return found, nil
}

// list opens the directory name in dir and returns its names, sorted.
func list(dir int, name string) (int, []string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	names, err := readNames(fd)
	if err != nil {
		unix.Close(fd)
		return -1, nil, &os.PathError{Op: "read", Path: name, Err: err}
	}
	slices.Sort(names)
	return fd, names, nil
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// splitWildcards splits a path before its first element with a wildcard.
func splitWildcards(name string) (fixed string, pattern []string) {
	elements := strings.Split(strings.Trim(path.Join("/", name), "/"), "/")
	i := slices.IndexFunc(elements, hasWildcard)
	if i < 0 {
		return strings.Join(elements, "/"), nil
	}
	return strings.Join(elements[:i], "/"), elements[i:]
}

// hasWildcard reports whether an element is a pattern (path.Match); a backslash takes the next byte's meaning away.
func hasWildcard(element string) bool {
	for i := 0; i < len(element); i++ {
		switch element[i] {
		case '\\':
			i++
		case '*', '?', '[':
			return true
		}
	}
	return false
}
