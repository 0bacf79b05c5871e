package solve

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"berth/internal/build/cache"
	"berth/internal/build/copy"
	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/linux/overlay"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// bound is what a mount shows: a path in a tree that does not change.
type bound struct {
	s      *solver
	from   plan.Source
	found  bool   // layer is known
	layer  string // that has the tree's files; "": it has none
	path   string // in it, absolute
	digest oci.Digest
	undo   []func() error
}

// bind finds what a mount shows, and digests it: files of a context and of a
// stage by their content, those of an image by the image's own digests.
func (s *solver) bind(ctx context.Context, m *plan.Mount) (*bound, error) {
	if m.Type == plan.MountCache && m.From.Scratch {
		return &bound{s: s, found: true}, nil // it begins empty
	}
	b := &bound{s: s, from: m.From, path: path.Join("/", m.Path)}
	if m.From.Stage == nil && m.From.Image == nil && !m.From.Scratch {
		return b, b.context(ctx, m.From.Context)
	}
	if img := m.From.Image; img != nil {
		b.digest = cache.NewKey("of image").Add("image", string(img.ID)).Add("path", b.path).Sum()
		return b, nil
	}
	c := &plan.Copy{Paths: []string{b.path}, Dest: "/"}
	err := s.digestOf(m.From, c, nil, &b.digest, func() error {
		o, err := b.find(ctx)
		if err != nil {
			return err
		}
		b.digest, err = s.remember(o, c, nil, true, func() (oci.Digest, error) {
			return copy.Digest(ctx, copy.Sources{Main: o.Tree}, c, nil)
		})
		return err
	})
	return b, err
}

// find opens the tree, and finds out which layer has its files.
func (b *bound) find(ctx context.Context) (*opened, error) {
	o, err := b.s.trees.get(ctx, b.from)
	if err != nil {
		return nil, err
	}
	b.found = true
	if o.layer != emptyTree {
		b.layer = o.layer
	}
	return o, nil
}

// context shows files of a build context, from a layer that is a copy of them.
func (b *bound) context(ctx context.Context, name string) error {
	l, err := b.s.local(ctx, name, b.path)
	if err != nil {
		return err
	}
	o, err := b.s.trees.get(ctx, plan.Source{Context: name})
	if err != nil {
		return err
	}
	b.digest, b.layer, b.found = l.Key, l.ID, true
	b.path, err = baseOf(o.Tree, b.path)
	return err
}

// open mounts the tree for one step and tells whether the path is a file. Before
// Linux 6.15 a mount serves only once. Whoever may write gets a layer of his own
// on top, which is thrown away.
//
// What the path leads to is found inside the tree, here and by the Runner again:
// a link in a hostile stage leads nowhere else (CVE-2024-1753), and nobody
// changes the tree meanwhile.
func (b *bound) open(ctx context.Context, readOnly bool) (root *os.File, isFile bool, err error) {
	switch {
	case !readOnly:
		root, err = b.writable()
	case b.layer == "":
		var o *opened
		if o, err = b.s.trees.get(ctx, plan.Source{Scratch: true}); err == nil {
			root = o.Root()
		}
	default:
		if root, err = b.s.layers.MountTree(ctx, b.layer); err == nil {
			b.undo = append(b.undo, root.Close)
		}
	}
	if err != nil {
		return nil, false, err
	}
	isFile, err = isFileAt(root, b.path)
	return root, isFile, err
}

// isFileAt tells whether there is a file or a directory at the path.
func isFileAt(root *os.File, path string) (bool, error) {
	st, err := rootpath.Stat(root, path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return false, errdefs.New(errdefs.NotFound, "%q: not found", path)
	}
	return st.Mode&unix.S_IFMT != unix.S_IFDIR, err
}

// writable mounts the tree under an empty layer that lives as long as the step.
func (b *bound) writable() (*os.File, error) {
	d, err := b.s.layers.Begin("")
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, d.Discard)
	for _, name := range [...]string{"upper", "work", "none", "at"} {
		if err := os.Mkdir(d.Dir()+"/"+name, 0o755); err != nil {
			return nil, err
		}
	}
	lower := []string{d.Dir() + "/none"}
	top := d.Dir() + "/none"
	if b.layer != "" {
		top = b.s.layers.Diff(b.layer)
		below, err := b.s.layers.Lowers(b.layer)
		if err != nil {
			return nil, err
		}
		lower = append([]string{top}, below...)
	}
	// The root of an overlay looks like the upper directory.
	if err := snapshot.CopyAttributes(top, d.Dir()+"/upper"); err != nil {
		return nil, err
	}
	f, err := overlay.Mount(overlay.Options{
		Base: b.s.layers.Dir(), Lower: lower, Upper: d.Dir() + "/upper", Work: d.Dir() + "/work", Volatile: true, Staging: d.Dir() + "/at",
	})
	if err != nil {
		return nil, err
	}
	b.undo = append(b.undo, f.Close)
	return f, nil
}

func (b *bound) close() error {
	var errs []error
	for i := len(b.undo) - 1; i >= 0; i-- {
		errs = append(errs, b.undo[i]())
	}
	b.undo = nil
	return errors.Join(errs...)
}

// caches takes the directories of the step's cache mounts, in the one order in
// which every step takes them, so that two steps never wait for each other.
func (r *run) caches(ctx context.Context, w *work) ([]*cache.Mount, error) {
	type wanted struct {
		request cache.MountRequest
		index   int
	}
	var want []wanted
	for i, m := range r.op.Mounts {
		if m.Type != plan.MountCache {
			continue
		}
		b := r.sources[i]
		q := cache.MountRequest{
			ID: cmp.Or(m.ID, m.Target), Base: string(b.digest), Mode: m.Mode, UID: m.UID, GID: m.GID, Sharing: m.Sharing,
			Text: "cached mount " + m.Target + " from " + w.step.Text,
		}
		if !m.From.Scratch {
			q.Fill = func(ctx context.Context, into *os.File) error { return b.fill(ctx, into, &m) }
		}
		want = append(want, wanted{q, i})
	}
	slices.SortStableFunc(want, func(a, b wanted) int { return cmp.Compare(a.request.Name(), b.request.Name()) })
	got := make([]*cache.Mount, len(r.op.Mounts))
	for i, q := range want {
		if i > 0 && want[i-1].request.Name() == q.request.Name() {
			got[q.index] = got[want[i-1].index] // one program, one directory
			continue
		}
		m, err := r.s.cache.Mount(ctx, q.request)
		if err != nil {
			return nil, err
		}
		r.undo = append(r.undo, m.Close)
		got[q.index] = m
	}
	return got, nil
}

// fill copies what a cache mount begins with.
func (b *bound) fill(ctx context.Context, into *os.File, m *plan.Mount) error {
	o, err := b.s.trees.get(ctx, m.From)
	if err != nil {
		return err
	}
	c := &plan.Copy{Paths: []string{path.Join("/", m.Path)}, Dest: "/"}
	if err := copy.Into(ctx, copy.Sources{Main: o.Tree}, c, into, copy.Options{}); err != nil {
		return err
	}
	if m.Mode != 0 {
		return nil // the cache sets mode and owner
	}
	return keepRoot(o.Root(), c.Paths[0], into)
}

// keepRoot gives a copy of a directory the source's own mode and owner: COPY
// copies only what is in it.
func keepRoot(root *os.File, at string, into *os.File) error {
	st, err := rootpath.Stat(root, at)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	if err := into.Chown(int(st.Uid), int(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(int(into.Fd()), st.Mode&0o7777); err != nil {
		return &os.PathError{Op: "fchmod", Path: at, Err: err}
	}
	return nil
}
