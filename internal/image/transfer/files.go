package transfer

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// Limits of an archive of images.
const (
	maxFiles    = 100_000 // entries
	maxLinks    = 8       // symbolic links one after another
	bombFloor   = 64 << 20
	bombRatio   = 2000 // as storage/archive's for layers
	seekFloor   = 512  // shorter input is no tar
	copyPortion = 4 << 20
)

// seekable returns the archive as a plain tar that can be read in any order:
// the file itself if it is one, else a copy in a file without a name.
func (s *Store) seekable(ctx context.Context, r io.Reader) (_ *os.File, done func(), err error) {
	if f, ok := r.(*os.File); ok && isPlainFile(f) {
		return f, func() {}, nil
	}
	u, err := unpackArchive(r)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(s.images.PartialDir(), 0o700); err != nil {
		return nil, nil, err
	}
	f, err := atomicfile.Nameless(s.images.PartialDir())
	if err != nil {
		return nil, nil, err
	}
	err = copyBounded(ctx, f, u)
	if err == nil {
		err = u.Close() // else the reader may be waiting for a stdin that nobody can end
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, func() { f.Close() }, nil //nolint:errcheck // nothing of it is kept
}

// isPlainFile reports whether f is a regular file at its start that holds a tar as it is.
func isPlainFile(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() < seekFloor {
		return false
	}
	if at, err := f.Seek(0, io.SeekCurrent); err != nil || at != 0 {
		return false
	}
	var head [seekFloor]byte
	_, err = f.ReadAt(head[:], 0)
	return err == nil && string(head[257:262]) == "ustar"
}

// copyBounded unpacks an archive, and stops one that grows beyond all reason.
func copyBounded(ctx context.Context, w io.Writer, u *unpacked) error {
	var total int64
	for {
		n, err := io.CopyN(w, u, copyPortion)
		total += n
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case total > bombFloor && total/max(u.taken.n.Load(), 1) > bombRatio:
			return errdefs.New(errdefs.Exhausted, "it unpacks to more than %d times its size", bombRatio)
		}
	}
}

// tarFiles are the files of a tar. Names are only ever looked up in a table:
// none becomes a path of the host.
type tarFiles struct {
	f     *os.File
	table map[string]tarEntry
}

// tarEntry is where a file's content is, or where a link leads.
type tarEntry struct {
	offset, length int64
	link           string // cleaned; "" for a file
}

// indexTar reads the headers of a tar. The standard library's reader takes
// exactly the header's blocks and seeks over content, so the file's position
// after Next is where the content begins.
func indexTar(ctx context.Context, f *os.File) (*tarFiles, error) {
	t := &tarFiles{f: f, table: map[string]tarEntry{}}
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, errdefs.New(errdefs.InvalidArgument, "it is no tar, or damaged: %w", err)
		}
		if n == maxFiles {
			return nil, errdefs.New(errdefs.Exhausted, "it holds more than %d files", maxFiles)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := t.add(h); err != nil {
			return nil, err
		}
	}
}

func (t *tarFiles) add(h *tar.Header) error {
	name := cleanName(h.Name)
	e := tarEntry{length: h.Size}
	switch h.Typeflag {
	case tar.TypeReg:
		if _, sparse := h.PAXRecords["GNU.sparse.major"]; sparse {
			return errdefs.New(errdefs.Unsupported, "%.200q is a sparse file", name)
		}
		at, err := t.f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		e.offset = at
	case tar.TypeSymlink: // Docker 1.10 to 24 wrote a layer once and then links to it
		e.link = cleanName(path.Join(path.Dir(name), h.Linkname))
	case tar.TypeLink:
		e.link = cleanName(h.Linkname)
	case tar.TypeGNUSparse:
		return errdefs.New(errdefs.Unsupported, "%.200q is a sparse file", name)
	default:
		return nil
	}
	if _, twice := t.table[name]; twice && isDocument(name) {
		return errdefs.New(errdefs.InvalidArgument, "it holds %s twice", name)
	}
	t.table[name] = e
	return nil
}

// isDocument tells the files that say what an archive holds: two of a kind
// could be read as two different archives.
func isDocument(name string) bool {
	return name == "manifest.json" || name == "index.json" || name == "repositories" || name == "oci-layout"
}

func cleanName(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

func (t *tarFiles) open(name string) (content, error) {
	name = cleanName(name)
	for range maxLinks {
		e, ok := t.table[name]
		switch {
		case !ok:
			return nil, &fs.PathError{Op: "find in archive", Path: name, Err: fs.ErrNotExist}
		case e.link == "":
			return section{io.NewSectionReader(t.f, e.offset, e.length)}, nil
		}
		name = e.link
	}
	return nil, errdefs.New(errdefs.InvalidArgument, "%.200q is a link to a link to a link", name)
}

// section is content inside a tar.
type section struct{ *io.SectionReader }

func (s section) size() int64  { return s.Size() }
func (s section) Close() error { return nil }

// dirFiles are the files of a directory. os.Root keeps links inside it.
type dirFiles struct{ root *os.Root }

func (d dirFiles) open(name string) (content, error) {
	// O_NONBLOCK: a FIFO must not make the open wait for a writer.
	f, err := d.root.OpenFile(cleanName(name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errdefs.New(errdefs.InvalidArgument, "%.200q is not a file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return onDisk{f, info.Size()}, nil
}

// onDisk is content in a file of its own.
type onDisk struct {
	*os.File
	length int64
}

func (o onDisk) size() int64 { return o.length }

// packedFile is a layer in a file, as the unpacker sees it.
type packedFile struct {
	watched
	c    content
	sum  hash.Hash
	want oci.Digest // "" : anything
}

// summed returns r, or r with its bytes also going into the digest.
func (p *packedFile) summed(r io.Reader) io.Reader {
	if p.want == "" {
		return r
	}
	p.sum = sha256.New()
	return io.TeeReader(r, p.sum)
}

// Stop does nothing: a file never makes its reader wait.
func (p *packedFile) Stop(error) {}

// Finish compares the digest, if there is one to compare.
func (p *packedFile) Finish(err error) error {
	if p.want != "" {
		_, rerr := io.Copy(io.Discard, &p.watched)
		if rerr == nil && oci.DigestOfSum(p.sum.Sum(nil)) != p.want {
			rerr = &errdefs.Error{Kind: errdefs.InvalidArgument, Op: "verify", Subject: string(p.want), Err: errDigest}
		}
		if rerr != nil {
			err = rerr
		}
	}
	return errors.Join(err, p.c.Close())
}
