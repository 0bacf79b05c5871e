package snapshot

import (
	"context"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/overlay"
	"berth/internal/linux/rootpath"
)

// MountPoint is a place in a draft where something will be mounted while a
// program runs in it.
type MountPoint struct {
	Path string // absolute
	File bool   // a file is to be mounted there, or a socket; else a directory
}

// stepPoints are the places where every program that runs in a draft has a mount.
var stepPoints = [...]mountPoint{
	{path: "/dev", kind: 'd'},
	{path: "/proc", kind: 'd'},
	{path: "/sys", kind: 'd'},
	{path: "/etc/resolv.conf", kind: 'f'},
	{path: "/etc/hosts", kind: 'f'},
	{path: "/etc/hostname", kind: 'f'},
}

// stubsDir holds, beside diff, the mount points of a draft while it is mounted.
const stubsDir = "stubs"

// Mount shows the draft on top of its parents, writable: what is written there
// is in Dir. The mount is volatile and detached: no one else sees it, and it ends
// with Unmount, or with the process. The descriptor belongs to the draft.
//
// Something can only be mounted on what exists, and what the mounting needs is
// no part of the layer. So the mount points that the parents lack are made in a
// thin layer between them and the draft, which is thrown away: nothing has to be
// removed afterwards from a tree where a hostile program may have put a symbolic
// link in place of a directory (CVE-2024-23652).
func (d *Draft) Mount(ctx context.Context, points ...MountPoint) (*os.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if d.merged != nil {
		return nil, errdefs.New(errdefs.Internal, "draft %s is mounted already", d.id)
	}
	f, err := d.mount(points)
	if err != nil {
		return nil, errdefs.Wrap(err, "mount draft", d.id)
	}
	d.merged = f
	return f, nil
}

func (d *Draft) mount(points []MountPoint) (*os.File, error) {
	if err := d.cleanMount(); err != nil { // of an earlier one
		return nil, err
	}
	d.used, d.synced = true, false
	for _, name := range [...]string{stubsDir, "work"} {
		if err := makeDir(d.path + "/" + name); err != nil {
			return nil, err
		}
	}
	all := stepPoints[:]
	for _, p := range points {
		m := mountPoint{path: p.Path, kind: 'd'}
		if p.File {
			m.kind = 'f'
		}
		all = append(all[:len(all):len(all)], m)
	}
	if err := d.addMountPoints(d.path+"/"+stubsDir, all); err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(d.path, d.s.dir+"/")
	lower := []string{name + "/" + stubsDir}
	if d.parent != "" {
		below, err := d.s.lowerOf(d.parent)
		if err != nil {
			return nil, err
		}
		lower = append(lower, strings.Split(below, ":")...)
	}
	return overlay.Mount(overlay.Options{
		Base: d.s.dir, Lower: lower, Upper: name + "/diff", Work: name + "/work", Volatile: true, Staging: d.path + "/" + stubsDir,
	})
}

// Unmount ends what Mount began. Who still has files open there keeps them; a
// draft that is not mounted stays as it is.
func (d *Draft) Unmount() error {
	if d.merged == nil {
		return nil
	}
	err := d.merged.Close()
	d.merged = nil
	return err
}

// cleanMount takes away what the kernel and Mount left: the work directory with
// its mark of a volatile mount, the mount points, and the notes among the files.
func (d *Draft) cleanMount() error {
	if err := d.Unmount(); err != nil || !d.used {
		return err
	}
	if err := rootpath.RemoveAll(int(d.lock.Fd()), stubsDir); err != nil {
		return err
	}
	if err := d.emptyWork(); err != nil {
		return err
	}
	if err := dropNotes(d.Dir(), true); err != nil {
		return err
	}
	d.used = false
	return nil
}

func (d *Draft) emptyWork() error {
	work, err := os.OpenFile(d.path+"/work", os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer work.Close()
	return rootpath.RemoveChildren(int(work.Fd()))
}

// dropNotes removes the extended attributes in which overlay notes where a file
// was copied from. They mean something for the mount that wrote them only, and a
// layer holds files and deletions; the mark of a replaced directory ("opaque") is one.
// Entries of a directory can have notes only where overlay marked it as
// "impure", so that files that are new are not looked at.
//
// Preconditions: nobody changes the tree meanwhile.
func dropNotes(dir string, withEntries bool) error {
	impure, err := dropOverlayXattrs(dir)
	if err != nil || !withEntries {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		if e.IsDir() {
			err = dropNotes(path, true)
		} else if impure {
			err = dropNotes(path, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const overlayXattr = "trusted.overlay."

func dropOverlayXattrs(path string) (impure bool, err error) {
	var space [1024]byte
	names, err := readXattr(space[:], func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if err != nil || len(names) == 0 {
		return false, ignoreUnsupported("llistxattr", path, err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		note, ours := strings.CutPrefix(name, overlayXattr)
		if !ours || note == "opaque" {
			continue
		}
		impure = impure || note == "impure"
		if err := unix.Lremovexattr(path, name); err != nil {
			return impure, &os.PathError{Op: "lremovexattr", Path: path, Err: err}
		}
	}
	return impure, nil
}
