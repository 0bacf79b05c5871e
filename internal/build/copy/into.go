package copy

import (
	"context"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
)

// Options say how Into copies.
type Options struct {
	// Owner is who everything belongs to. nil looks --chown up in the
	// destination's own /etc/passwd and /etc/group.
	Owner *Owner
	// Progress is told of every file that was made, with its bytes. It may be nil.
	Progress func(bytes int64)
	// Expect is the digest that Digest gave, and that what was copied must still
	// have: files of a context may change while they are read. "" is not checked.
	Expect oci.Digest
}

// Into copies what c says into the tree whose root directory is dest, usually
// the overlay mount of a stage. On an error the tree is left half filled: the
// caller throws it away.
func Into(ctx context.Context, from Sources, c *plan.Copy, dest *os.File, o Options) error {
	w, err := newWork(from, c)
	if err != nil {
		return err
	}
	owner := o.Owner
	if owner == nil {
		if owner, err = LookUpOwner(dest, c.Chown); err != nil {
			return err
		}
	}
	t := &target{root: dest, chmod: &w.chmod, owner: owner, created: c.Created}
	err = w.each(func(p *part) error { return t.put(ctx, p, c.Dest, o.Progress) })
	if err == nil {
		err = t.finish()
	}
	if err != nil || o.Expect == "" {
		return err
	}
	now, err := Digest(ctx, from, c, o.Owner)
	if err != nil {
		return err
	}
	if now != o.Expect {
		return errdefs.New(errdefs.Conflict, "files of the build context changed while they were copied").
			WithHint("build again once whatever writes to them has ended")
	}
	return nil
}

// put copies one part to the path dest.
func (t *target) put(ctx context.Context, p *part, dest string, progress func(int64)) error {
	if p.unpack {
		if done, err := t.unpack(ctx, p, dest); done || err != nil {
			return err
		}
	}
	at, err := t.place(dest, p.file == nil && p.item.isDir(), p.as())
	if err != nil {
		return err
	}
	if t.parts++; at.file && t.parts > 1 {
		unix.Close(at.dir)
		return errdefs.New(errdefs.InvalidArgument, "with more than one source the destination %s must be a directory", printable(dest)).
			WithHint("end it with a slash: %s/", printable(dest))
	}
	c := &copier{target: t, progress: progress, dest: at.path, dirs: []int{at.dir}}
	defer c.close()
	switch {
	case p.file != nil:
		return c.inline(at.name, p.file)
	case !p.item.isDir():
		c.tree = p.item.tree
		e := p.item.entry()
		return c.put(e, at.name)
	}
	c.tree = p.item.tree
	if err := walk(ctx, p, c); err != nil {
		return err
	}
	// The directory itself gets no attributes but, like every other, the source's time.
	return t.setTimes(at.dir, "", &p.item.Stat)
}

// spot is where a part is put: a name in an open directory.
type spot struct {
	dir  int
	path string // of dir
	name string // what a file is called there
	file bool   // the destination is the file itself, not a directory
}

// place makes what is missing on the way to dest and opens the directory that a
// part is put into: dest itself for a directory, and for a file if it is one or
// ends in a slash.
func (t *target) place(dest string, isDir bool, as string) (spot, error) {
	if isDir || strings.HasSuffix(dest, "/") {
		dir, err := t.makeDirs(dest, t.chmod.parents())
		return spot{dir: dir, path: dest, name: as}, err
	}
	above, _ := rootpath.SplitLast(dest)
	dir, err := t.makeDirs(above, t.chmod.parents())
	if err != nil {
		return spot{}, err
	}
	unix.Close(dir)
	real, err := t.resolve(dest)
	if err != nil {
		return spot{}, err
	}
	dir, err = rootpath.OpenAt(int(t.root.Fd()), real, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == nil {
		return spot{dir: dir, path: dest, name: as}, nil
	}
	// Not a directory, or not there: also what a link leads to is made, and its parents.
	above, name := rootpath.SplitLast(real)
	dir, err = t.makeDirs(above, t.chmod.parents())
	return spot{dir, above, name, true}, err
}

// inline makes the file of a here-document.
func (c *copier) inline(name string, f *plan.File) error {
	fd, err := c.create(name, f.Mode)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := write(fd, f.Data); err != nil {
		return within(name, err)
	}
	st := unix.Stat_t{Mode: unix.S_IFREG | f.Mode, Mtim: unix.Timespec{Nsec: unix.UTIME_OMIT}, Atim: unix.Timespec{Nsec: unix.UTIME_OMIT}}
	return within(name, c.finishFile(fd, &st, nil))
}
