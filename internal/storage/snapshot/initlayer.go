package snapshot

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/overlay"
	"berth/internal/linux/rootpath"
)

const initSuffix = "-init"

// initID names the init layer of the image whose topmost layer is top.
func initID(top string) string {
	if top == "" {
		top = "scratch"
	}
	return top + initSuffix
}

// mountPoint is a place where the engine mounts something in every container.
type mountPoint struct {
	path string
	kind byte   // 'd' directory, 'f' empty file, 'l' symbolic link
	link string // where a link leads
}

// mountPoints are those of Docker's init layer.
var mountPoints = [...]mountPoint{
	{path: "/dev/pts", kind: 'd'},
	{path: "/dev/shm", kind: 'd'},
	{path: "/proc", kind: 'd'},
	{path: "/sys", kind: 'd'},
	{path: "/.dockerenv", kind: 'f'},
	{path: "/etc/resolv.conf", kind: 'f'},
	{path: "/etc/hosts", kind: 'f'},
	{path: "/etc/hostname", kind: 'f'},
	{path: "/dev/console", kind: 'f'},
	{path: "/etc/mtab", kind: 'l', link: "/proc/mounts"},
}

// initLayer returns the lower file of a container on the image parent, which
// begins with the init layer, and the init layer's diff directory. It makes the
// init layer if this is the image's first container.
func (s *Store) initLayer(parent string) (lower, diff string, err error) {
	if parent != "" {
		if err := checkID(parent); err != nil {
			return "", "", err
		}
	}
	id := initID(parent)
	if lower, err = s.initLower(id, parent); err == nil {
		return lower, s.Diff(id), nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrDamaged) {
		return "", "", err
	}
	if lower, err = s.makeInit(id, parent); err != nil {
		return "", "", errdefs.Wrap(err, "make the init layer of", ident.Short(parent))
	}
	return lower, s.Diff(id), nil
}

// initLower is below for an init layer. Nothing of it was synced: after a power
// cut its small files may be empty.
func (s *Store) initLower(id, parent string) (string, error) {
	lower, err := s.below(id)
	if err == nil && parent != "" && !strings.Contains(lower, ":") {
		err = ErrDamaged
	}
	return lower, err
}

// makeInit makes the init layer under a draft's name and renames it into place.
// One process at a time does it for an image.
func (s *Store) makeInit(id, parent string) (string, error) {
	d := &Draft{s: s, id: id, parent: parent, path: s.dir + "/" + draftPrefix + ident.NewLink()}
	if parent != "" {
		if _, err := s.lowerOf(parent); err != nil {
			return "", err
		}
	}
	if err := s.makeDirs(); err != nil {
		return "", err
	}
	lock, err := lockDir(s.Path(parent), true) // the store's directory itself for an image without layers
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if lower, err := s.initLower(id, parent); err == nil {
		return lower, nil // another process was faster
	}
	if err := d.claim(); err != nil {
		return "", err
	}
	lower, err := d.publishInit()
	d.close()
	if err != nil {
		if _, terr := s.toTrash(d.path); terr != nil && !errors.Is(terr, os.ErrNotExist) {
			err = errors.Join(err, terr)
		}
		return "", err
	}
	return lower, nil
}

func (d *Draft) publishInit() (string, error) {
	if err := d.prepare(); err != nil {
		return "", err
	}
	if err := unix.Mkdir(d.path+"/work", layerMode); err != nil {
		return "", &os.PathError{Op: "mkdir", Path: d.path + "/work", Err: err}
	}
	if err := d.addMountPoints(d.Dir(), mountPoints[:]); err != nil {
		return "", err
	}
	link := ident.NewLink()
	lower := "l/" + link
	if err := writeFile(d.path+"/link", link); err != nil {
		return "", err
	}
	if d.parent != "" {
		below, err := d.s.lowerOf(d.parent)
		if err != nil {
			return "", err
		}
		if err := writeFile(d.path+"/lower", below); err != nil {
			return "", err
		}
		lower += ":" + below
	}
	if err := writeFile(d.path+"/committed", ""); err != nil {
		return "", err
	}
	// The link first: the layer is used from the moment it has its name.
	d.s.step("link init")
	if err := d.s.symlink(link, d.id); err != nil {
		return "", err
	}
	if _, err := d.s.toTrash(d.s.Path(d.id)); err != nil && !errors.Is(err, os.ErrNotExist) { // a damaged one
		return "", err
	}
	d.s.step("rename init")
	return lower, os.Rename(d.path, d.s.Path(d.id))
}

// addMountPoints makes, in dir, those of the mount points that the image lacks.
func (d *Draft) addMountPoints(dir string, points []mountPoint) error {
	view, err := d.view()
	if err != nil {
		return err
	}
	defer view.Close()
	t := initTree{view: view, dir: dir}
	for _, m := range points {
		if err := t.add(m); err != nil {
			return errdefs.Wrap(err, "add", m.path)
		}
	}
	// Last: making an entry changes the time of its directory.
	for _, rel := range t.copied {
		if err := copyAttributes(rootpath.ProcPath(int(view.Fd()))+"/"+rel, t.dir+"/"+rel, d.parent != ""); err != nil {
			return err
		}
	}
	return nil
}

// view opens the root directory of the image below, with all its layers merged.
func (d *Draft) view() (*os.File, error) {
	if d.parent == "" {
		return rootpath.OpenRoot(d.Dir())
	}
	lower, err := d.s.lowerOf(d.parent)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(lower, ":") {
		return rootpath.OpenRoot(d.s.Diff(d.parent))
	}
	return overlay.Mount(overlay.Options{Base: d.s.dir, Lower: strings.Split(lower, ":"), Staging: d.path + "/work"})
}

// initTree is an init layer being made.
type initTree struct {
	view   *os.File // the image's root
	dir    string   // the layer's diff directory
	copied []string // directories of the image that are repeated in the layer
}

// add makes a mount point unless the image has something there. It goes where a
// process in the container would find the path: through the image's symbolic
// links, and never out of its root. Where the image has no usable place (a file
// instead of a directory, links in a circle) nothing is made, and whoever mounts
// there says so.
func (t *initTree) add(m mountPoint) error {
	have, missing, err := resolve(t.view, m.path)
	if err != nil || len(missing) == 0 {
		return err
	}
	at := ""
	for _, name := range append([]string{"."}, have...) {
		at = strings.TrimPrefix(at+"/"+name, "/")
		if err := t.repeat(at); err != nil {
			return err
		}
	}
	for _, name := range missing[:len(missing)-1] {
		at += "/" + name
		if err := makeDir(t.dir + "/" + at); err != nil {
			return err
		}
	}
	path := t.dir + "/" + at + "/" + missing[len(missing)-1]
	switch m.kind {
	case 'd':
		return makeDir(path)
	case 'l':
		return os.Symlink(m.link, path)
	}
	if err := writeFile(path, ""); err != nil {
		return err
	}
	return chmod(path, layerMode) // Docker's mode for these files
}

// repeat makes a directory of the image in the layer, to be given its attributes later.
func (t *initTree) repeat(rel string) error {
	for _, have := range t.copied {
		if have == rel {
			return nil
		}
	}
	t.copied = append(t.copied, rel)
	return makeDir(t.dir + "/" + rel)
}

func makeDir(path string) error {
	err := unix.Mkdir(path, layerMode)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return chmod(path, layerMode)
}

// maxLinks is the kernel's limit of symbolic links in one path (path_resolution(7)).
const maxLinks = 40

// resolve walks path in the tree root and returns the elements of what exists
// of it, free of links, and the elements that do not exist. Both are empty if the
// path cannot exist. Every look is at a path without links, so the walk cannot
// leave the tree; the tree does not change meanwhile.
func resolve(root *os.File, path string) (have, missing []string, err error) {
	todo := strings.Split(path, "/")
	for links := 0; len(todo) > 0; {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			have = have[:max(0, len(have)-1)]
			continue
		}
		at := strings.Join(append(have[:len(have):len(have)], name), "/")
		st, err := rootpath.Lstat(root, at)
		switch {
		case errors.Is(err, unix.ENOENT), err == nil && isWhiteout(st):
			return have, tail(name, todo), nil
		case errors.Is(err, unix.ENOTDIR):
			return nil, nil, nil
		case err != nil:
			return nil, nil, err
		case st.Mode&unix.S_IFMT != unix.S_IFLNK:
			have = append(have, name)
			continue
		}
		target, err := rootpath.ReadLink(root, at)
		if err != nil {
			return nil, nil, err
		}
		if links++; links > maxLinks {
			return nil, nil, nil
		}
		if strings.HasPrefix(target, "/") {
			have = nil
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return have, nil, nil
}

// isWhiteout reports whether this is overlay's marker of a deleted name: a
// character device 0:0. A merged view shows none, a single layer might.
func isWhiteout(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

// tail returns the missing elements of a path, or nothing if they contain "..",
// which has no meaning in a directory that does not exist.
func tail(first string, rest []string) []string {
	missing := []string{first}
	for _, name := range rest {
		switch name {
		case "", ".":
		case "..":
			return nil
		default:
			missing = append(missing, name)
		}
	}
	return missing
}
