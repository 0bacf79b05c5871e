package copy

import (
	"path"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/errdefs"
)

// work is an instruction made ready: what it says is checked and parsed.
type work struct {
	c       *plan.Copy
	from    Sources
	chmod   Chmod
	exclude filter // nil excludes nothing
}

// part is one file or directory to copy to the destination.
type part struct {
	item item
	// file is a here-document; there is no item then.
	file *plan.File
	// filter selects what of a directory is copied; nil all of it.
	filter filter
	// required is the path that the user named and that filter must have found.
	required string
	// revision is the commit that stands for the content of a checkout; "" is the content itself.
	revision string
	// unpack says that a file is unpacked if it is an archive.
	unpack bool
}

// as is what a file is called in a destination that is a directory.
func (p *part) as() string {
	if p.file != nil {
		return p.file.Name
	}
	return p.item.as
}

func newWork(from Sources, c *plan.Copy) (*work, error) {
	w := &work{c: c, from: from}
	var err error
	if w.chmod, err = ParseChmod(c.Chmod); err != nil {
		return nil, err
	}
	if w.exclude, err = excluding(c.Exclude); err != nil {
		return nil, err
	}
	if len(c.Paths) > 0 && from.Main == nil {
		return nil, errdefs.New(errdefs.Internal, "no tree for %s", c.Paths[0])
	}
	if len(from.Remote) != len(c.Remote) {
		return nil, errdefs.New(errdefs.Internal, "%d trees for %d remote sources", len(from.Remote), len(c.Remote))
	}
	return w, nil
}

// each calls do for every part, in the order in which they are copied: later
// ones replace earlier ones.
func (w *work) each(do func(*part) error) error {
	for _, name := range w.c.Paths {
		if err := w.path(name, do); err != nil {
			return err
		}
	}
	for i, t := range w.from.Remote {
		if err := w.remote(t, do); err != nil {
			return explain(err, "add", w.c.Remote[i])
		}
	}
	for i := range w.c.Files {
		if err := do(&part{file: &w.c.Files[i]}); err != nil {
			return explain(err, "copy", w.c.Files[i].Name)
		}
	}
	return nil
}

// path deals with what one path of the main tree names.
func (w *work) path(name string, do func(*part) error) error {
	start, include, required := name, filter(nil), ""
	if w.c.Parents {
		// Names are kept from the pivot on, which is "/./" or the root.
		above, pattern, ok := strings.Cut(name, "/./")
		if !ok {
			above, pattern = "/", name
		}
		pattern = strings.Trim(path.Join("/", pattern), "/")
		start = above
		var err error
		if include, err = including(pattern); err != nil {
			return err
		}
		if !strings.ContainsFunc(above+pattern, func(r rune) bool { return r == '*' || r == '?' || r == '[' }) {
			required = path.Join("/", above, pattern)
		}
	}
	items, err := expand(w.from.Main, start)
	if err != nil {
		return err
	}
	defer closeAll(items)
	for i := range items {
		p := &part{item: items[i], required: required}
		switch {
		case p.item.isDir():
			p.filter = both(include, w.exclude)
		case w.c.Parents:
			if required != "" {
				return w.from.Main.NotFound(required, false)
			}
			continue
		case p.item.matched && w.exclude != nil:
			if selected, _ := w.exclude(p.item.as, false); !selected {
				continue
			}
		}
		p.unpack = w.c.Unpack != plan.UnpackNever && !p.item.isDir()
		if err := do(p); err != nil {
			return explain(err, "copy", "/"+p.item.Rel)
		}
	}
	return nil
}

// remote deals with what was fetched: one file, or the whole of a checkout.
func (w *work) remote(t *source.Tree, do func(*part) error) error {
	f, err := t.Find(t.File)
	if err != nil {
		return err
	}
	defer f.Close()
	p := &part{item: item{Found: f, tree: t, as: t.File}}
	if p.item.isDir() {
		p.filter, p.revision = w.exclude, t.Revision
	} else {
		p.unpack = w.c.Unpack == plan.UnpackAlways
	}
	return do(p)
}

// both selects what two filters select.
func both(a, b filter) filter {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return func(rel string, isDir bool) (bool, bool) {
		s1, b1 := a(rel, isDir)
		s2, b2 := b(rel, isDir)
		return s1 && s2, b1 && b2
	}
}
