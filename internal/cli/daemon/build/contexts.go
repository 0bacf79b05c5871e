package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"berth/internal/build/dockerfile"
	"berth/internal/build/ignore"
	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// contexts are the places that the files of a build come from: the main context
// and those of --build-context. Each is opened when it is first needed, the main
// one at once, since it mostly holds the Dockerfile.
type contexts struct {
	dataRoot string
	work     *workspace
	sink     progress.Sink
	lookup   func(string) (string, bool)
	secrets  secrets

	main     *source.Tree
	from     *source.Origin // of the main context; nil: it was here
	list     []named
	images   map[string]dockerfile.Context
	trees    []*source.Tree
	memories []*source.Memory

	mu      sync.Mutex // guards what follows, trees and memories: steps run at the same time
	fetched []source.Origin
	opened  map[string]*opening
}

// opening is a context that is opened once, though several platforms need it.
type opening struct {
	once sync.Once
	tree *source.Tree
	err  error
}

// note remembers where a tree was fetched from.
func (c *contexts) note(t *source.Tree) {
	if t.Origin == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetched = append(c.fetched, *t.Origin)
}

// origins are the places that the build has fetched from so far.
func (c *contexts) origins() []source.Origin {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.fetched)
}

// prepare looks at every named context: images are for the plan, directories must be there.
func (c *contexts) prepare(ctx context.Context, list []named) error {
	c.list, c.images = list, map[string]dockerfile.Context{}
	for _, n := range list {
		kind, rest, ok := strings.Cut(n.at, "://")
		var err error
		from := dockerfile.Context{}
		switch {
		case ok && kind == "docker-image":
			_, err = reference.Parse(rest)
			from.Image = rest
		case ok && kind == "oci-layout":
			from.Image, err = n.at, checkLayout(rest)
		case ok && kind == "target":
			err = errdefs.New(errdefs.Unsupported, "only bake has target: contexts")
		default:
			_, err = classify(n.at)
		}
		if err != nil {
			return &errdefs.Error{Kind: errdefs.KindOf(err), Err: fmt.Errorf("invalid build context %s=%s: %w", n.name, n.at, err), Hint: errdefs.HintOf(err)}
		}
		c.images[n.name] = from
	}
	return nil
}

// sameName reports whether two names mean the same context. An image's name may
// be written in several ways.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	x, err := reference.Parse(a)
	y, err2 := reference.Parse(b)
	return err == nil && err2 == nil && x == y
}

// kind is what a context is given as.
type kind int

const (
	directory kind = iota
	standardInput
	archiveFile
	repository
	address
)

// classify tells what a context is. A directory of that name is taken before an
// address that looks the same.
func classify(s string) (kind, error) {
	if s == "-" {
		return standardInput, nil
	}
	st, err := os.Stat(s)
	switch {
	case err == nil && st.IsDir():
		return directory, nil
	case err == nil:
		return archiveFile, nil
	}
	_, git, gitErr := source.ParseGit(s)
	switch {
	case gitErr != nil:
		return 0, gitErr
	case git:
		return repository, nil
	case source.IsURL(s):
		return address, nil
	case errors.Is(err, os.ErrNotExist):
		return 0, errdefs.New(errdefs.NotFound, "unable to prepare context: path %q not found", s).WithHint("name a directory, '.' for this one")
	}
	return 0, err
}

// open is solve.Options.Context.
func (c *contexts) open(ctx context.Context, name string) (*source.Tree, error) {
	if name == "" {
		if c.main == nil {
			return c.nothing()
		}
		return c.main, nil
	}
	for _, n := range c.list {
		if !sameName(n.name, name) {
			continue
		}
		c.mu.Lock()
		if c.opened == nil {
			c.opened = map[string]*opening{}
		}
		o := c.opened[n.name]
		if o == nil {
			o = &opening{}
			c.opened[n.name] = o
		}
		c.mu.Unlock()
		o.once.Do(func() { o.tree, o.err = c.tree(ctx, n) })
		return o.tree, o.err
	}
	return nil, errdefs.New(errdefs.NotFound, "there is no build context %q", name)
}

// tree opens a named context.
func (c *contexts) tree(ctx context.Context, n named) (*source.Tree, error) {
	kind, err := classify(n.at)
	if err != nil {
		return nil, err
	}
	switch kind {
	case directory:
		t, err := c.directory(n.at)
		if err != nil {
			return nil, err
		}
		return t, c.ignore(t, ignore.DefaultName)
	case repository:
		return c.checkout(ctx, n.at, source.GitOptions{})
	case address, archiveFile:
		f, _, err := c.download(ctx, n.at, kind)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return c.unpack(ctx, f)
	}
	return nil, errdefs.New(errdefs.InvalidArgument, "a named context cannot be standard input")
}

// nothing is the context of a Dockerfile that came alone.
func (c *contexts) nothing() (*source.Tree, error) {
	dir, err := os.MkdirTemp(c.work.dir, "empty-")
	if err != nil {
		return nil, err
	}
	t, err := source.Dir(dir)
	return c.keep(t, err)
}

// directory opens a directory of the host, with a memory of what was in it.
func (c *contexts) directory(path string) (*source.Tree, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	t, err := c.keep(source.Dir(abs))
	if err != nil {
		return nil, err
	}
	t.Memory = source.NewMemory(filepath.Join(c.dataRoot, "build", "hashes"), abs)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memories = append(c.memories, t.Memory)
	return t, nil
}

func (c *contexts) unpack(ctx context.Context, f *os.File) (*source.Tree, error) {
	v := begin(c.sink, "[internal] load remote build context")
	t, err := source.Tar(ctx, f, c.work.dir)
	v.finish(err)
	return c.keep(t, err)
}

// checkout gets a repository. What --secret gives as GIT_AUTH_TOKEN or
// GIT_AUTH_HEADER is shown to its server.
func (c *contexts) checkout(ctx context.Context, at string, o source.GitOptions) (*source.Tree, error) {
	v := begin(c.sink, "[internal] load git source "+source.Redact(at))
	c.gitOptions(&o)
	t, err := source.Git(ctx, at, c.work.dir, o)
	v.finish(err)
	return c.keep(t, err)
}

// remote is solve.Options.Remote.
func (c *contexts) remote(ctx context.Context, at string, op *plan.Copy) (*source.Tree, error) {
	t, err := c.get(ctx, at, op)
	if err == nil {
		c.note(t)
	}
	return t, err
}

func (c *contexts) get(ctx context.Context, at string, op *plan.Copy) (*source.Tree, error) {
	if _, git, err := source.ParseGit(at); err != nil || git {
		o := source.GitOptions{KeepGitDir: op.KeepGitDir, Commit: op.Checksum}
		c.gitOptions(&o)
		return source.Git(ctx, at, c.work.dir, o)
	}
	return source.Get(ctx, at, c.work.dir, source.GetOptions{Checksum: oci.Digest(op.Checksum)})
}

// keep takes a tree over, to be closed with the others. In a build context
// everything belongs to root.
func (c *contexts) keep(t *source.Tree, err error) (*source.Tree, error) {
	if err != nil {
		return nil, err
	}
	t.RootOwned = true
	c.note(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trees = append(c.trees, t)
	return t, nil
}

// ignore reads the first of the files of rules that is there.
func (c *contexts) ignore(t *source.Tree, names ...string) error {
	for _, name := range names {
		text, err := t.ReadFile(name, maxText)
		if missing(err) {
			continue
		}
		if err != nil {
			return err
		}
		return rules(t, name, text)
	}
	return nil
}

// rules makes the tree leave out what a file of rules says.
func rules(t *source.Tree, name string, text []byte) error {
	m, err := ignore.Parse(name, text)
	if err != nil {
		return err
	}
	if m != nil {
		t.Ignore, t.IgnoreName = m.Match, name
	}
	return nil
}

// save remembers for the next build what was read; that it fails costs time only.
func (c *contexts) save() (err error) {
	for _, m := range c.memories {
		err = errors.Join(err, m.Save())
	}
	return err
}

// close closes all trees.
func (c *contexts) close() (err error) {
	for _, t := range c.trees {
		err = errors.Join(err, t.Close())
	}
	return err
}
