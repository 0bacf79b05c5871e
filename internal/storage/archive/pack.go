package archive

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/archive/ustar"
)

// PackOptions say how a tree becomes a stream.
type PackOptions struct {
	// Name is the name of the top entry; below a directory the names of its
	// content follow it. "" leaves the top itself out and gives its content alone.
	Name string
	// FollowTop packs what the path leads to if its last element is a symbolic link.
	FollowTop bool
	// Precise keeps mtimes to the nanosecond; layers have whole seconds, as Docker's.
	Precise bool
	// MapOwner translates the ids found on disk; nil keeps them.
	MapOwner func(uid, gid uint32) (uint32, uint32, error)
	// Latest is the greatest mtime that is written; a later one becomes this
	// (SOURCE_DATE_EPOCH, reproducible-builds.org). nil keeps all.
	Latest *time.Time
}

// PackResult tells what was written.
type PackResult struct {
	Entries int
	Bytes   int64 // of regular files, hard links counted once
	Stream  int64 // bytes of the tar stream
	// Short counts files that became shorter while they were read; their
	// entries are filled up with zero bytes.
	Short int
}

// Pack writes a tar stream of path inside root to w: a file, or a directory
// with everything below it, in the order of names. The tree may be that of a
// running container: each file is pinned first and then looked at, and nothing
// but regular files and directories is ever opened. Mounts below are part of
// the tree, except those that show the kernel's state (procfs, sysfs, ...),
// which appear as empty directories. Sockets are left out: they mean nothing elsewhere.
func Pack(ctx context.Context, w io.Writer, root *os.File, path string, o PackOptions) (PackResult, error) {
	flags := unix.O_PATH
	if !o.FollowTop {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := rootpath.OpenAt(int(root.Fd()), path, flags, 0)
	if err != nil {
		return PackResult{}, errdefs.Wrap(kinded(err), "read", quote(path))
	}
	defer unix.Close(fd)
	p := newPacker(ctx, w, o)
	if err := p.node(fd, o.Name, 0); err != nil {
		return p.res, err
	}
	return p.close()
}

// DiffOptions say how a layer directory becomes a stream.
type DiffOptions struct {
	// Root also writes an entry "./" with the attributes of the layer's root.
	// Docker never does; without it a change of the root's own mode is lost.
	Root     bool
	MapOwner func(uid, gid uint32) (uint32, uint32, error)
	Latest   *time.Time // see PackOptions.Latest
}

// Diff writes the image layer of upper, the writable directory of an overlay
// mount: deleted files and opaque directories in the words of the image
// specification, everything else as it is. The same directory always gives the same bytes.
//
// A directory that overlay renamed without copying it (redirect_dir) or a file
// whose data is still below (metacopy) cannot be told in a layer and is refused;
// berth mounts with both off.
func Diff(ctx context.Context, w io.Writer, upper *os.File, o DiffOptions) (PackResult, error) {
	return diff(newPacker(ctx, w, o.pack()), upper)
}

// DiffSize returns how many bytes Diff writes, without reading the files' content.
func DiffSize(ctx context.Context, upper *os.File, o DiffOptions) (int64, error) {
	p := newPacker(ctx, io.Discard, o.pack())
	p.measure = true
	res, err := diff(p, upper)
	return res.Stream, err
}

func (o *DiffOptions) pack() PackOptions {
	p := PackOptions{MapOwner: o.MapOwner, Latest: o.Latest}
	if o.Root {
		p.Name = "."
	}
	return p
}

func diff(p *packer, upper *os.File) (PackResult, error) {
	p.overlay = true
	fd, err := openAt(int(upper.Fd()), ".", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return PackResult{}, pathError("openat", upper.Name(), err)
	}
	defer unix.Close(fd)
	if err := p.node(fd, p.o.Name, 0); err != nil {
		return p.res, err
	}
	return p.close()
}

// packer is one run of Pack or Diff.
type packer struct {
	ctx     context.Context
	o       PackOptions
	overlay bool
	measure bool // leave the content of files out, and count it
	out     *ustar.Writer
	res     PackResult
	h       ustar.Header
	links   map[inode]string // files with several names: the first one
	names   dirReader
	xattrs  []byte
}

type inode struct{ dev, ino uint64 }

func newPacker(ctx context.Context, w io.Writer, o PackOptions) *packer {
	return &packer{ctx: ctx, o: o, out: ustar.NewWriter(w)}
}

func (p *packer) close() (PackResult, error) {
	err := p.out.Close()
	p.res.Stream = p.out.Written()
	return p.res, err
}

// node writes the file that the O_PATH descriptor fd pins, and all below it.
// dev is the file system of the directory it lies in, 0 for the top.
func (p *packer) node(fd int, name string, dev uint64) error {
	if err := context.Cause(p.ctx); err != nil {
		return &errdefs.Error{Kind: errdefs.Cancelled, Op: "read", Subject: quote(name), Err: err}
	}
	if len(name) > maxPath {
		return errdefs.Wrap(ustar.Exceeded("bytes in a path", maxPath), "read", quote(name))
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return pathError("fstat", name, err)
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFSOCK {
		return nil
	}
	if name == "" && kind != unix.S_IFDIR {
		return errdefs.New(errdefs.InvalidArgument, "a file can only be packed under a name")
	}
	if p.overlay && isWhiteout(&st) {
		return p.mark(joinWhiteout(name))
	}
	opaque, err := p.header(fd, &st, name)
	if err != nil {
		return err
	}
	if kind == unix.S_IFDIR {
		return p.directory(fd, &st, name, dev, opaque)
	}
	if st.Nlink > 1 {
		if done, err := p.second(&st, name); done || err != nil {
			return err
		}
	}
	switch kind {
	case unix.S_IFREG:
		return p.regular(fd, &st, name)
	case unix.S_IFLNK:
		p.h.Type = ustar.TypeSymlink
		if p.h.Link, err = rootpath.ReadLinkAt(fd, ""); err != nil {
			return pathError("readlinkat", name, err)
		}
	case unix.S_IFCHR:
		p.h.Type = ustar.TypeChar
	case unix.S_IFBLK:
		p.h.Type = ustar.TypeBlock
	case unix.S_IFIFO:
		p.h.Type = ustar.TypeFifo
	}
	if kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		p.h.Major, p.h.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	return p.emit()
}

// header fills p.h with what all kinds of files have.
func (p *packer) header(fd int, st *unix.Stat_t, name string) (opaque bool, err error) {
	uid, gid := st.Uid, st.Gid
	if p.o.MapOwner != nil {
		if uid, gid, err = p.o.MapOwner(uid, gid); err != nil {
			return false, errdefs.Wrap(err, "read", quote(name))
		}
	}
	p.h = ustar.Header{
		Name: name, Mode: st.Mode & 0o7777, UID: int64(uid), GID: int64(gid),
		Mtime: ustar.Time{Sec: int64(st.Mtim.Sec)}, Xattrs: p.h.Xattrs[:0],
	}
	if p.o.Precise {
		p.h.Mtime.Nsec = int64(st.Mtim.Nsec)
	}
	if l := p.o.Latest; l != nil && time.Unix(p.h.Mtime.Sec, p.h.Mtime.Nsec).After(*l) {
		p.h.Mtime = ustar.Time{Sec: l.Unix()}
	}
	return p.readXattrs(fd, name)
}

func (p *packer) emit() error {
	p.res.Entries++
	return p.out.Header(&p.h)
}

// second writes a file that has been written under another name as a link to that.
func (p *packer) second(st *unix.Stat_t, name string) (bool, error) {
	key := inode{uint64(st.Dev), st.Ino}
	first, seen := p.links[key]
	if !seen {
		if p.links == nil {
			p.links = map[inode]string{}
		}
		p.links[key] = name
		return false, nil
	}
	p.h.Type, p.h.Link = ustar.TypeLink, first
	return true, p.emit()
}

// regular writes a file's entry and its content. The size is that of the entry:
// bytes that the file grows by while it is read are left out.
func (p *packer) regular(pinned int, st *unix.Stat_t, name string) error {
	p.h.Type, p.h.Size = ustar.TypeReg, st.Size
	if err := p.emit(); err != nil || st.Size == 0 {
		return err
	}
	if p.measure {
		p.out.Skip(st.Size)
		return nil
	}
	fd, err := rootpath.Reopen(pinned, unix.O_RDONLY|unix.O_NOCTTY)
	if err != nil {
		return pathError("open", name, err)
	}
	defer unix.Close(fd)
	short, err := p.out.Copy(fd, st.Size)
	if err != nil {
		return errdefs.Wrap(err, "read", quote(name))
	}
	if short > 0 {
		p.res.Short++
	}
	p.res.Bytes += st.Size
	return nil
}

// directory writes a directory's entry, its opaque mark, and its content.
func (p *packer) directory(pinned int, st *unix.Stat_t, name string, dev uint64, opaque bool) error {
	inside := name
	if name != "" {
		p.h.Type = ustar.TypeDir
		if name[len(name)-1] != '/' {
			p.h.Name = name + "/"
		}
		if err := p.emit(); err != nil {
			return err
		}
		inside = p.h.Name
	}
	if p.overlay && inside == "./" {
		inside = ""
	}
	if opaque {
		if err := p.mark(inside + opaqueName); err != nil {
			return err
		}
	}
	if dev != 0 && uint64(st.Dev) != dev && showsKernel(pinned) {
		return nil
	}
	fd, err := openAt(pinned, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return pathError("openat", name, err)
	}
	defer unix.Close(fd)
	names, err := p.names.read(fd)
	if err != nil {
		return pathError("getdents64", name, err)
	}
	for _, child := range names {
		if err := p.child(fd, child, inside+child, uint64(st.Dev)); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) child(dir int, base, name string, dev uint64) error {
	fd, err := openAt(dir, base, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil // removed since the directory was read
	}
	if err != nil {
		return pathError("openat", name, err)
	}
	defer unix.Close(fd)
	return p.node(fd, name, dev)
}

// mark writes a whiteout or opaque mark: an empty file whose name is the
// message. It has no time: when overlay made its own mark says nothing (all are
// links of one file), and a copy of the layer must give the same stream.
func (p *packer) mark(name string) error {
	p.h = ustar.Header{Name: name, Type: ustar.TypeReg, Mode: 0o600, Xattrs: p.h.Xattrs[:0]}
	return p.emit()
}

func joinWhiteout(name string) string {
	dir, base := splitLast(name)
	if dir != "" {
		dir += "/"
	}
	return dir + whiteoutPrefix + base
}

// kinded gives the errors of a missing path their kind.
func kinded(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return &errdefs.Error{Kind: errdefs.NotFound, Err: err}
	}
	return err
}
