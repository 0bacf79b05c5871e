package source

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// maxLinks bounds the links followed on the way to one path.
const maxLinks = 255

// Resolve follows the links of path inside root and returns where it leads: a
// path without links, "." and "..", relative to root, "" for root itself.
// Elements that do not exist are kept as they are, so that the result also says
// where something would be made.
//
// A path needs its real name when names decide something (.dockerignore) or
// when the directories on the way are to be made. It is still opened through
// linux/rootpath: between this call and the next a link may appear.
//
// seen, if not nil, is called with the real path of each link on the way; its
// error ends the search.
func Resolve(root *os.File, path string, seen func(link string) error) (string, error) {
	todo := split(nil, path)
	var real []string
	for links := 0; len(todo) > 0; {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if name == ".." {
			real = real[:max(len(real)-1, 0)]
			continue
		}
		real = append(real, name)
		here := strings.Join(real, "/")
		target, err := rootpath.ReadLink(root, here)
		if err != nil {
			// EINVAL, ENOENT: what was opened is no link; the others: there is nothing.
			if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
				continue
			}
			return "", err
		}
		if links++; links > maxLinks {
			return "", &os.PathError{Op: "resolve", Path: path, Err: unix.ELOOP}
		}
		if seen != nil {
			if err := seen(here); err != nil {
				return "", err
			}
		}
		if strings.HasPrefix(target, "/") {
			real = real[:0]
		} else {
			real = real[:len(real)-1]
		}
		todo = split(todo, target)
	}
	return strings.Join(real, "/"), nil
}

// split puts the elements of path onto the stack todo, the first one on top.
func split(todo []string, path string) []string {
	for path != "" {
		path = strings.TrimRight(path, "/")
		i := strings.LastIndexByte(path, '/')
		if name := path[i+1:]; name != "" && name != "." {
			todo = append(todo, name)
		}
		path = path[:i+1]
	}
	return todo
}

// Found is a file of a tree: a name in an open directory.
type Found struct {
	Dir  int    // descriptor of the directory that holds it, of the root itself for the root
	Name string // in Dir; "." for the root
	Rel  string // the path that Ignore knows it by; "" for the root
	Stat unix.Stat_t
}

// Close closes Dir.
func (f *Found) Close() { unix.Close(f.Dir) }

// Find follows path, as every source named in a Dockerfile is followed: through
// links, inside the tree, and only over what is not ignored. A directory that is
// ignored itself is found if something below it may be taken back.
func (t *Tree) Find(path string) (Found, error) {
	rel, err := Resolve(t.root, path, func(link string) error {
		if ignored, _ := t.Ignored(link, false); ignored {
			return t.NotFound(path, true)
		}
		return nil
	})
	if err != nil {
		return Found{}, err
	}
	f := Found{Name: ".", Rel: rel}
	dir := ""
	if rel != "" {
		dir, f.Name = rootpath.SplitLast(rel)
	}
	f.Dir, err = rootpath.OpenAt(int(t.root.Fd()), dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err == nil {
		if err = t.Stat(f.Dir, f.Name, &f.Stat); err != nil {
			f.Close()
		}
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return Found{}, t.NotFound(path, false)
	}
	if err != nil {
		return Found{}, err
	}
	isDir := f.Stat.Mode&unix.S_IFMT == unix.S_IFDIR
	if ignored, skip := t.Ignored(rel, isDir); ignored && (skip || !isDir) {
		f.Close()
		return Found{}, t.NotFound(path, true)
	}
	return f, nil
}

// NotFound is the error for a source that is not there, or that ignore rules hide.
func (t *Tree) NotFound(path string, hidden bool) error {
	err := errdefs.New(errdefs.NotFound, "%q: not found", "/"+strings.Trim(path, "/"))
	if !hidden {
		return err
	}
	name := t.IgnoreName
	if name == "" {
		name = ".dockerignore"
	}
	return err.WithHint("it is there, but %s excludes it: add the line !%s at its end", name, strings.Trim(path, "/"))
}
