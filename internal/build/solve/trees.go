package solve

import (
	"context"
	"errors"
	"os"
	"path"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"berth/internal/build/cache"
	"berth/internal/build/copy"
	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// trees are the sources of files that a build has open.
type trees struct {
	s      *solver
	mu     sync.Mutex // guards open and drafts
	open   map[string]*opened
	drafts []*snapshot.Draft
}

// opened is a tree that steps read from.
type opened struct {
	*source.Tree
	// layer names the files exactly and for ever; "" for a build context.
	layer string
	once  sync.Once
	err   error
	ours  bool // to be closed by the solver
}

// emptyTree is the name of the tree without files.
const emptyTree = "-"

// get opens a source, once for each.
func (t *trees) get(ctx context.Context, from plan.Source) (*opened, error) {
	name, layer, err := t.find(ctx, from)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	o := t.open[name]
	if o == nil {
		o = &opened{layer: layer}
		t.open[name] = o
	}
	t.mu.Unlock()
	o.once.Do(func() { o.err = t.mount(ctx, o, from) })
	return o, o.err
}

// find returns the name of a source, and the layer that has its files.
func (t *trees) find(ctx context.Context, from plan.Source) (name, layer string, err error) {
	switch {
	case from.Stage != nil:
		st, err := t.s.files(ctx, from.Stage)
		if err != nil {
			return "", "", err
		}
		layer = st.layer
	case from.Image != nil:
		img, err := t.s.lease.UseImage(from.Image.ID)
		if err != nil {
			return "", "", err
		}
		layer = img.TopLayer
	case !from.Scratch:
		return "context:" + from.Context, "", nil
	}
	if layer == "" {
		layer = emptyTree
	}
	return "layer:" + layer, layer, nil
}

func (t *trees) mount(ctx context.Context, o *opened, from plan.Source) (err error) {
	switch o.layer {
	case "":
		if t.s.o.Context == nil {
			return errdefs.New(errdefs.InvalidArgument, "this build has no context")
		}
		o.Tree, err = t.s.o.Context(ctx, from.Context)
		return err
	case emptyTree:
		o.Tree, err = t.empty()
	default:
		var f *os.File
		if f, err = t.s.layers.MountTree(ctx, o.layer); err == nil {
			o.Tree = source.Open(f)
		}
	}
	o.ours = err == nil
	return err
}

// empty is a tree without files.
func (t *trees) empty() (*source.Tree, error) {
	d, err := t.draft()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(d.Dir())
	if err != nil {
		return nil, err
	}
	return source.Open(f), nil
}

// draft makes a directory that lives as long as the build.
func (t *trees) draft() (*snapshot.Draft, error) {
	d, err := t.s.layers.Begin("")
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drafts = append(t.drafts, d)
	return d, nil
}

func (t *trees) close() error {
	var errs []error
	for _, o := range t.open {
		if o.ours {
			errs = append(errs, o.Close())
		}
	}
	for _, d := range t.drafts {
		errs = append(errs, d.Discard())
	}
	return errors.Join(errs...)
}

// remember returns the digest of what an instruction copies out of a layer from
// the cache's memory, or computes it. Layers do not change; contexts have a
// memory of their own (source.Memory).
func (s *solver) remember(o *opened, c *plan.Copy, owner *copy.Owner, local bool, digest func() (oci.Digest, error)) (oci.Digest, error) {
	if o == nil || o.layer == "" || o.layer == emptyTree || !local {
		return digest()
	}
	key := reading(cache.NewKey("digest").Add("layer", o.layer), c, owner)
	if d, err := s.cache.Recall(key); err != nil || d != "" {
		return d, err
	}
	d, err := digest()
	if err != nil {
		return "", err
	}
	return d, s.cache.Remember(key, d)
}

// reading adds to a key what an instruction reads of the files that it names.
func reading(k *cache.Key, c *plan.Copy, owner *copy.Owner) oci.Digest {
	k.Add("paths", c.Paths...).Add("exclude", c.Exclude...).
		Add("chown", c.Chown).Add("chmod", c.Chmod).Add("parents", strconv.FormatBool(c.Parents)).Add("unpack", strconv.Itoa(int(c.Unpack)))
	for _, f := range c.Files {
		k.Add("file", f.Name, string(f.Data), strconv.FormatUint(uint64(f.Mode), 8))
	}
	if owner != nil {
		k.Add("owner", strconv.FormatUint(uint64(owner.UID), 10), strconv.FormatUint(uint64(owner.GID), 10))
	}
	return k.Sum()
}

// local makes a layer of files of a build context, or finds it: a program must
// not see the user's own directory, where files are that the build ignores, and
// which changes.
func (s *solver) local(ctx context.Context, name, at string) (*Layer, error) {
	text := "local " + path.Join("/", at)
	if name != "" {
		text = "local " + name + ":" + path.Join("/", at)
	}
	c := &copying{s: s, op: &plan.Copy{From: plan.Source{Context: name}, Paths: []string{at}, Dest: "/"}}
	w := &work{stage: &stage{Stage: &plan.Stage{}}, step: &plan.Step{Text: text}, below: emptyState(), op: c, exact: true}
	defer c.close()
	if err := c.open(ctx, w); err != nil {
		return nil, err
	}
	key := c.describe(cache.NewKey("local")).Sum()
	l, _, err := s.layer(ctx, w, key, cache.Local)
	if err == nil && l == nil {
		l = &Layer{Key: key, Created: s.now(), Text: text, Cached: true} // no files at all
	}
	return l, err
}

// baseOf is where a file lies in the layer that local made of it: at the top
// under its own name; of a directory the content lies there.
func baseOf(t *source.Tree, at string) (string, error) {
	f, err := t.Find(at)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if f.Stat.Mode&unix.S_IFMT == unix.S_IFDIR {
		return "/", nil
	}
	return path.Join("/", path.Base(at)), nil
}
