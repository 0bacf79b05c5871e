package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/storage/archive/ustar"
)

// ApplyOptions say how Apply unpacks. The zero value is for an image layer, with the default limits.
type ApplyOptions struct {
	// Base is the directory, a path inside the root, that names of the stream
	// start from; "" is the root itself. Links are still resolved against the root.
	Base string
	// Plain unpacks names beginning with ".wh." as the files they are.
	Plain bool
	// Delete carries whiteouts out instead of writing them down: what they name is
	// removed from the tree, which is not one layer but several that are shown as
	// one. The stream must be one that Diff wrote: its marks stand before the
	// content of their directory.
	Delete bool
	// KeepKinds refuses to replace a directory by something else and the
	// reverse, as `docker cp` does.
	KeepKinds bool
	// UserXattr marks opaque directories by user.overlay.opaque, which an
	// overlay mounted without privileges (option userxattr) reads.
	UserXattr bool
	// MapOwner translates the ids of the stream; nil keeps them.
	MapOwner func(uid, gid uint32) (uint32, uint32, error)
	// Digest computes Result.DiffID.
	Digest bool
	// Recorder, when not nil, is told how the stream is put together.
	Recorder Recorder
	Limits   Limits
	// Compressed returns how many compressed bytes the stream has used up so
	// far; it makes Limits.Ratio work.
	Compressed func() int64
}

// Limits bound what a stream may make Apply do. A zero field means its default.
type Limits struct {
	Stream      int64 // bytes of tar read; default 2 TiB
	Bytes       int64 // sum of all file sizes; default 1 TiB
	Entries     int   // default 4 million
	Directories int   // whose attributes must be remembered to the end; default 512 thousand
	Ratio       int64 // unpacked to compressed bytes, once 64 MiB are unpacked; default 2000
	Extra       int   // bytes of one extended header; default 1 MiB
}

// ratioFloor is the size below which no ratio is looked at: small layers of zeros are harmless.
const ratioFloor = 64 << 20

func (l *Limits) setDefaults() {
	set := func(to *int64, v int64) {
		if *to == 0 {
			*to = v
		}
	}
	set(&l.Stream, 2<<40)
	set(&l.Bytes, 1<<40)
	set(&l.Ratio, 2000)
	if l.Entries == 0 {
		l.Entries = 4 << 20
	}
	if l.Directories == 0 {
		l.Directories = 512 << 10
	}
}

// Result tells what Apply did.
type Result struct {
	Entries int
	Bytes   int64      // of regular files, hard links counted once
	Stream  int64      // bytes of the tar stream
	DiffID  oci.Digest // of the whole stream, if asked for
	// Skipped counts what this system could not take: device nodes and extended
	// attributes that the kernel refused for want of rights or support.
	Skipped int
	// Root tells that the stream describes the root directory itself.
	Root bool
	// Implied are the directories that entries lie in and the stream does not
	// describe; see Inherit.
	Implied []string
}

// Apply unpacks the tar stream src into the directory root and reads src to its
// end. On an error the directory is left half filled: the caller removes it.
//
// Existing names are replaced, as later entries of one stream replace earlier
// ones, but for directories, which are merged. Directories get their attributes
// last, so that a read-only one can be filled and mtimes survive.
func Apply(ctx context.Context, root *os.File, src io.Reader, o ApplyOptions) (Result, error) {
	o.Limits.setDefaults()
	a := &applier{ctx: ctx, o: o}
	var tee io.Writer
	if o.Digest {
		a.sum = sha256.New()
		tee = a.sum
	}
	a.dirs.root, a.dirs.base = int(root.Fd()), strings.Trim(o.Base, "/")
	defer a.dirs.close()
	a.tar = ustar.NewReader(src, tee, ustar.Limits{Stream: o.Limits.Stream, Extra: o.Limits.Extra})
	if o.Recorder != nil {
		a.tar.Record(o.Recorder.Literal)
	}
	if err := a.run(); err != nil {
		return a.res, explain(err)
	}
	a.res.Stream = a.tar.Taken()
	a.res.Implied = slices.Sorted(maps.Keys(a.implied))
	if o.Digest {
		a.res.DiffID = oci.DigestOfSum(a.sum.Sum(nil))
	}
	return a.res, nil
}

// applier is one run of Apply.
type applier struct {
	ctx   context.Context
	o     ApplyOptions
	tar   *ustar.Reader
	sum   hash.Hash
	dirs  dirCache
	later []directory // attributes to set at the end
	// remembered is what their names and attributes take of memory.
	remembered int
	// realRoot is the root's path on the host, once the recorder needed one.
	realRoot string
	// implied are the directories made by parent that no entry has described.
	implied map[string]bool
	res     Result
}

func (a *applier) run() error {
	for {
		h, err := a.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return errdefs.Wrap(err, "unpack", "archive")
		}
		if err := a.count(h); err != nil {
			return errdefs.Wrap(err, "unpack", "archive")
		}
		if err := a.entry(h); err != nil {
			return &errdefs.Error{Kind: errdefs.KindOf(err), Op: "unpack", Subject: quote(h.Name), Err: err}
		}
	}
	// The digest is of every byte, also of what follows the end marks.
	if err := a.tar.Drain(); err != nil {
		return errdefs.Wrap(err, "unpack", "archive")
	}
	return a.finishDirs()
}

// count checks the limits that an entry's header can break.
func (a *applier) count(h *ustar.Header) error {
	if err := context.Cause(a.ctx); err != nil {
		return &errdefs.Error{Kind: errdefs.Cancelled, Err: err}
	}
	if a.res.Entries++; a.res.Entries > a.o.Limits.Entries {
		return ustar.Exceeded("entries", int64(a.o.Limits.Entries))
	}
	if h.Size > a.o.Limits.Bytes-a.res.Bytes {
		return ustar.Exceeded("bytes unpacked", a.o.Limits.Bytes)
	}
	return a.ratio(a.res.Bytes)
}

func (a *applier) ratio(unpacked int64) error {
	if a.o.Compressed == nil || unpacked < ratioFloor {
		return nil
	}
	if unpacked/max(a.o.Compressed(), 1) > a.o.Limits.Ratio {
		return ustar.Exceeded("times the compressed size", a.o.Limits.Ratio)
	}
	return nil
}

// entry makes what h describes.
func (a *applier) entry(h *ustar.Header) error {
	a.dirs.next()
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	own, err := a.owner(h)
	if err != nil {
		return err
	}
	if name == "" {
		if h.Type != ustar.TypeDir {
			return errdefs.New(errdefs.InvalidArgument, "the root of a layer must be a directory")
		}
		a.res.Root = true
		return a.remember("", h, own)
	}
	dir, base := splitLast(name)
	if !a.o.Plain {
		kind, err := whiteoutKind(dir, base)
		if err != nil || kind == wholeMeta {
			return err
		}
		if kind != noWhiteout {
			return a.whiteout(kind, dir, base)
		}
	}
	parent, err := a.parent(dir)
	if err != nil {
		return err
	}
	switch h.Type {
	case ustar.TypeReg:
		return a.regular(parent, base, h, own)
	case ustar.TypeDir:
		return a.directory(parent, name, base, h, own)
	case ustar.TypeSymlink:
		return a.symlink(parent, base, h, own)
	case ustar.TypeLink:
		return a.hardlink(parent, base, h, own)
	case ustar.TypeChar, ustar.TypeBlock, ustar.TypeFifo:
		return a.special(parent, base, h, own)
	}
	return errdefs.New(errdefs.InvalidArgument, "entry of unknown type %q", h.Type)
}

// owner is who a file shall belong to.
type owner struct{ uid, gid uint32 }

// owner checks and translates the ids of h. 2^32-1 is no id: chown(2) takes it for "leave as it is".
func (a *applier) owner(h *ustar.Header) (owner, error) {
	const none = 1<<32 - 1
	if h.UID < 0 || h.UID >= none || h.GID < 0 || h.GID >= none {
		return owner{}, errdefs.New(errdefs.InvalidArgument, "owner %d:%d is out of range", h.UID, h.GID)
	}
	o := owner{uint32(h.UID), uint32(h.GID)}
	var err error
	if a.o.MapOwner != nil {
		o.uid, o.gid, err = a.o.MapOwner(o.uid, o.gid)
	}
	return o, err
}

// explain gives errors of a full disk their kind.
func explain(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return (&errdefs.Error{Kind: errdefs.Exhausted, Err: err}).WithHint("free some disk space (`berth system df` shows what berth uses) and try again")
	}
	return err
}
