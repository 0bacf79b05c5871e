package solve

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/cache"
	"berth/internal/build/copy"
	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// root opens the root directory of a draft as the step sees it.
func root(ctx context.Context, d *snapshot.Draft, points ...snapshot.MountPoint) (*os.File, error) {
	if d.Parent() != "" {
		return d.Mount(ctx, points...) // the draft closes it
	}
	return os.Open(d.Dir())
}

// copying is COPY and ADD.
type copying struct {
	s      *solver
	op     *plan.Copy
	from   copy.Sources
	digest oci.Digest
	owner  *copy.Owner // what --chown means, where that cannot be looked up in the destination
	remote []*source.Tree
}

func (c *copying) key(ctx context.Context, w *work) (oci.Digest, error) {
	if err := c.open(ctx, w); err != nil {
		return "", err
	}
	return c.describe(cache.NewKey("copy").Add("below", string(w.below.key))).Sum(), nil
}

// describe adds what is copied, and where to.
func (c *copying) describe(k *cache.Key) *cache.Key {
	k.Add("content", string(c.digest)).Add("dest", c.op.Dest)
	if c.op.Created != nil {
		k.Add("created", c.op.Created.UTC().Format(time.RFC3339Nano))
	}
	return k
}

// open opens what is copied and digests it.
func (c *copying) open(ctx context.Context, w *work) error {
	for _, address := range c.op.Remote {
		if c.s.o.Remote == nil {
			return errdefs.New(errdefs.Unsupported, "%s: files from elsewhere cannot be fetched here", address)
		}
		t, err := c.s.o.Remote(ctx, address, c.op)
		if err != nil {
			return err
		}
		c.remote = append(c.remote, t)
	}
	c.from.Remote = c.remote
	return c.s.digestOf(c.op.From, c.op, c.owner, &c.digest, func() (err error) {
		o, err := c.main(ctx)
		if err != nil {
			return err
		}
		digest := func() (oci.Digest, error) { return copy.Digest(ctx, c.from, c.op, c.owner) }
		c.digest, err = c.s.remember(o, c.op, c.owner, len(c.remote) == 0, digest)
		return err
	})
}

// main opens the tree that Paths are in; nil if there are none.
func (c *copying) main(ctx context.Context) (*opened, error) {
	if len(c.op.Paths) == 0 {
		return nil, nil
	}
	o, err := c.s.trees.get(ctx, c.op.From)
	if err == nil {
		c.from.Main = o.Tree
	}
	return o, err
}

func (c *copying) need(ctx context.Context) error {
	if c.from.Main != nil {
		return nil
	}
	_, err := c.main(ctx) // its digest was told
	return err
}

func (c *copying) make(ctx context.Context, w *work, d *snapshot.Draft) error {
	into, err := root(ctx, d)
	if err != nil {
		return err
	}
	if d.Parent() == "" {
		defer into.Close()
	}
	o := copy.Options{Owner: c.owner}
	if c.op.From.Stage == nil && c.op.From.Image == nil {
		o.Expect = c.digest // a context can change while it is copied
	}
	return copy.Into(ctx, c.from, c.op, into, o)
}

func (c *copying) close() error {
	var errs []error
	for _, t := range c.remote {
		errs = append(errs, t.Close())
	}
	c.remote = nil
	return errors.Join(errs...)
}

// makeDir is WORKDIR.
type makeDir struct {
	s  *solver
	op *plan.MakeDir
}

func (m *makeDir) key(_ context.Context, w *work) (oci.Digest, error) {
	k := cache.NewKey("mkdir").Add("below", string(w.below.key)).Add("path", m.op.Path).Add("user", m.op.User)
	if m.op.Created != nil {
		k.Add("created", m.op.Created.UTC().Format(time.RFC3339Nano))
	}
	return k.Sum(), nil
}

func (m *makeDir) need(context.Context) error { return nil }

func (m *makeDir) make(ctx context.Context, _ *work, d *snapshot.Draft) error {
	into, err := root(ctx, d)
	if err != nil {
		return err
	}
	if d.Parent() == "" {
		defer into.Close()
	}
	owner, err := copy.LookUpOwner(into, m.op.User)
	if err != nil {
		return err
	}
	at := ""
	for name := range strings.SplitSeq(strings.Trim(path.Clean("/"+m.op.Path), "/"), "/") {
		at += "/" + name
		if err := m.one(into, at, owner); err != nil {
			return errdefs.Wrap(err, "make the directory", m.op.Path)
		}
	}
	return nil
}

// one makes a directory unless it is there.
func (m *makeDir) one(into *os.File, at string, owner *copy.Owner) error {
	st, err := rootpath.Stat(into, at)
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return errdefs.New(errdefs.InvalidArgument, "%s is a file", at)
	}
	if err == nil || !errors.Is(err, unix.ENOENT) {
		return err
	}
	d, err := rootpath.MkdirAll(into, at, 0o755)
	if err != nil {
		return err
	}
	defer d.Close()
	if owner != nil {
		if err := unix.Fchownat(int(d.Fd()), "", int(owner.UID), int(owner.GID), unix.AT_EMPTY_PATH); err != nil {
			return &os.PathError{Op: "fchownat", Path: at, Err: err}
		}
	}
	if err := unix.Chmod(rootpath.ProcPath(int(d.Fd())), 0o755); err != nil {
		return &os.PathError{Op: "chmod", Path: at, Err: err}
	}
	if m.op.Created == nil {
		return nil
	}
	ts := unix.NsecToTimespec(m.op.Created.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, rootpath.ProcPath(int(d.Fd())), []unix.Timespec{ts, ts}, 0); err != nil {
		return &os.PathError{Op: "utimensat", Path: at, Err: err}
	}
	return nil
}

func (m *makeDir) close() error { return nil }
