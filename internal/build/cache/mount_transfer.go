package cache

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/cleanup"
	"berth/internal/errdefs"
	"berth/internal/filelock"
	"berth/internal/ident"
	"berth/internal/storage/archive"
)

// TakenMount is a cache mount that was written out or brought in.
type TakenMount struct {
	Name string // on disk, and in du
	ID   string // as the Dockerfile says it
	Kept bool   // it was there before, and was not replaced
}

// ExportMounts writes cache mounts as one tar: for each a directory of its name
// with about.json, what is known of it, and data, its files. The name follows
// from what RUN --mount says, so that the same instruction finds the files on
// another machine. match selects by name and by id; nil selects all. One that is
// in use is waited for.
func (c *Cache) ExportMounts(ctx context.Context, w io.Writer, match func(name, id string) bool) (all []TakenMount, err error) {
	names, err := c.mountNames()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !isMountName(name) {
			continue
		}
		a, _ := c.readAbout(name)
		if match != nil && !match(name, a.ID) {
			continue
		}
		there, err := c.exportMount(ctx, w, name)
		if err != nil {
			return all, errdefs.Wrap(err, "write out", "the cache mount "+a.ID)
		}
		if there {
			all = append(all, TakenMount{Name: name, ID: a.ID})
		}
	}
	_, err = w.Write(make([]byte, archive.EndSize))
	return all, err
}

// exportMount writes one mount; there is false if it was removed meanwhile.
func (c *Cache) exportMount(ctx context.Context, w io.Writer, name string) (there bool, err error) {
	l, err := c.wait(ctx, filelock.Exclusive, c.mountLock(name))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	if !c.hasMount(name) {
		return false, os.Remove(c.mountLock(name))
	}
	dir, err := os.Open(c.mountDir())
	if err != nil {
		return false, err
	}
	defer dir.Close()
	_, err = archive.Pack(ctx, archive.WithoutEnd(w), dir, name, archive.PackOptions{Name: name, Precise: true})
	return true, err
}

// ImportMounts reads what ExportMounts wrote. A mount that is here stays as it
// is, or is replaced. Nothing is changed unless all of the tar could be read.
func (c *Cache) ImportMounts(ctx context.Context, r io.Reader, replace bool) (all []TakenMount, err error) {
	if err := c.makeDirs(); err != nil {
		return nil, err
	}
	// It lies where a killed maker's mount does, and goes as that does.
	temporary := slotName(ident.New(), 0)
	l, err := filelock.TryExclusive(c.mountLock(temporary))
	if err != nil {
		return nil, err
	}
	cu := cleanup.New()
	cu.Add(l.Unlock)
	cu.Add(func() error { return os.Remove(c.mountLock(temporary)) })
	cu.Add(func() error { return c.removeTree(newPrefix + temporary) })
	defer func() { err = errors.Join(err, cu.Run(), c.reclaimMounts()) }()
	tree := c.mountDir() + "/" + newPrefix + temporary
	if err := os.Mkdir(tree, 0o700); err != nil {
		return nil, err
	}
	root, err := os.Open(tree)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if _, err := archive.Apply(ctx, root, r, archive.ApplyOptions{Plain: true}); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(tree)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		m, err := c.checkImported(tree, e.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	for i := range all {
		if err := c.place(ctx, tree, &all[i], replace); err != nil {
			return all[:i], err
		}
	}
	return all, nil
}

// checkImported judges one directory of an unpacked tar, and makes what is said of it its own.
func (c *Cache) checkImported(tree, name string) (TakenMount, error) {
	foreign := func(what string) (TakenMount, error) {
		return TakenMount{}, errdefs.New(errdefs.InvalidArgument, "the archive has no cache mounts of berth's: %s", what).
			WithHint("berth builder mounts export writes one")
	}
	if !isMountName(name) {
		return foreign("unknown entry " + strconv.Quote(name))
	}
	for path, kind := range map[string]uint32{name: unix.S_IFDIR, name + "/" + dataDir: unix.S_IFDIR, name + "/" + aboutFile: unix.S_IFREG} {
		var st unix.Stat_t
		if err := unix.Lstat(tree+"/"+path, &st); err != nil || st.Mode&unix.S_IFMT != kind {
			return foreign(path + " is missing, or is of another kind")
		}
	}
	b, err := atomicfile.Read(tree + "/" + name + "/" + aboutFile)
	if err != nil {
		return TakenMount{}, err
	}
	var a about
	if err := json.Unmarshal(b, &a); err != nil {
		return foreign(name + "/" + aboutFile + " is malformed")
	}
	a.Size, a.Measured = 0, time.Time{}
	a.Text = a.Text[:min(len(a.Text), maxText)]
	if b, err = json.Marshal(a); err != nil {
		return TakenMount{}, err
	}
	return TakenMount{Name: name, ID: a.ID}, os.WriteFile(tree+"/"+name+"/"+aboutFile, b, 0o600)
}

// place gives an unpacked mount its name.
func (c *Cache) place(ctx context.Context, tree string, m *TakenMount, replace bool) (err error) {
	l, err := c.wait(ctx, filelock.Exclusive, c.mountLock(m.Name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	if c.hasMount(m.Name) {
		if !replace {
			m.Kept = true
			return nil
		}
		if err := os.Rename(c.mountDir()+"/"+m.Name, c.mountDir()+"/"+trashPrefix+ident.NewLink()); err != nil {
			return err
		}
	}
	return os.Rename(tree+"/"+m.Name, c.mountDir()+"/"+m.Name)
}
