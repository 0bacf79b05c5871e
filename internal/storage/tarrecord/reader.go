package tarrecord

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/storage/archive/ustar"
)

// Limits of a record. It was written by this host, but a disk may damage anything.
const (
	maxPath   = 4095 // PATH_MAX less the NUL
	maxRuns   = 1 << 18
	maxWindow = 8 << 20
	maxTar    = 1 << 50 // bytes
)

// file is a file of the record: what of it the tar holds.
type file struct {
	path string
	size int64
	runs []ustar.Extent
}

// eachRun calls f for each run; a whole file is one.
func (f *file) eachRun(do func(offset, length int64) error) error {
	if len(f.runs) == 0 {
		return do(0, f.size)
	}
	for _, r := range f.runs {
		if err := do(r.Offset, r.Length); err != nil {
			return err
		}
	}
	return nil
}

// reading is what is done with the parts of a record.
type reading struct {
	literal func(r io.Reader, length int64) error // must read it all
	file    func(file) error
}

var errDamaged = errdefs.New(errdefs.InvalidArgument, "the record of the tar is damaged")

func errChanged(path string) error {
	return errdefs.New(errdefs.Conflict, "the file %.300q is not what the record of the tar says", path)
}

// read reads a record to its end.
func read(record io.Reader, do reading) error {
	z, err := zstd.NewReader(record, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	d := &decoder{r: bufio.NewReaderSize(z, 64<<10)}
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(d.r, head); err != nil || string(head) != magic {
		return errors.Join(errDamaged, err)
	}
	for {
		n, err := binary.ReadUvarint(d.r)
		switch {
		case err != nil:
			return errors.Join(errDamaged, err)
		case n == 0:
			return d.atEnd()
		case n&1 == 0:
			err = d.literal(n>>1, do)
		default:
			err = d.file(n>>1, do)
		}
		if err != nil {
			return err
		}
	}
}

type decoder struct {
	r     *bufio.Reader
	total int64
	runs  []ustar.Extent
}

// atEnd makes sure that nothing follows, which also makes zstd check its sum.
func (d *decoder) atEnd() error {
	if _, err := d.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.Join(errDamaged, err)
	}
	return nil
}

// count adds to the length of the tar.
func (d *decoder) count(n uint64) error {
	if n > maxTar || d.total+int64(n) > maxTar {
		return errDamaged
	}
	d.total += int64(n)
	return nil
}

func (d *decoder) literal(n uint64, do reading) error {
	if err := d.count(n); err != nil {
		return err
	}
	return do.literal(io.LimitReader(d.r, int64(n)), int64(n))
}

// numbers reads so many of them; err is errDamaged.
func (d *decoder) numbers(to ...*uint64) error {
	for _, n := range to {
		var err error
		if *n, err = binary.ReadUvarint(d.r); err != nil {
			return errors.Join(errDamaged, err)
		}
	}
	return nil
}

func (d *decoder) file(runs uint64, do reading) error {
	var length, size uint64
	if err := d.numbers(&length); err != nil {
		return err
	}
	if runs > maxRuns || length == 0 || length > maxPath {
		return errDamaged
	}
	path := make([]byte, length)
	if _, err := io.ReadFull(d.r, path); err != nil {
		return errors.Join(errDamaged, err)
	}
	if err := d.numbers(&size); err != nil {
		return err
	}
	if size > maxTar {
		return errDamaged
	}
	f := file{path: string(path), size: int64(size)}
	if runs == 0 {
		if err := d.count(size); err != nil {
			return err
		}
		return do.file(f)
	}
	d.runs = d.runs[:0]
	for range runs {
		var offset, length uint64
		if err := d.numbers(&offset, &length); err != nil {
			return err
		}
		if offset > size || length > size-offset {
			return errDamaged
		}
		if err := d.count(length); err != nil {
			return err
		}
		d.runs = append(d.runs, ustar.Extent{Offset: int64(offset), Length: int64(length)})
	}
	f.runs = d.runs
	return do.file(f)
}

// Size returns how many bytes the tar of a record has.
func Size(record io.Reader) (int64, error) {
	var total int64
	err := read(record, reading{
		literal: func(r io.Reader, n int64) error {
			total += n
			return discard(r, n)
		},
		file: func(f file) error {
			return f.eachRun(func(_, n int64) error { total += n; return nil })
		},
	})
	return total, err
}

func discard(r io.Reader, n int64) error {
	if got, err := io.Copy(io.Discard, r); err != nil || got < n {
		return errors.Join(errDamaged, err)
	}
	return nil
}

// Copy writes the tar of a record to w. root is the directory that it was
// unpacked into. What is written need not be the tar if the directory was
// changed since: the caller compares the digest.
func Copy(ctx context.Context, w io.Writer, record io.Reader, root *os.File) error {
	buf := make([]byte, 256<<10)
	return read(record, reading{
		literal: func(r io.Reader, n int64) error {
			if got, err := io.CopyBuffer(onlyWriter{w}, r, buf); err != nil {
				return err
			} else if got < n {
				return errDamaged
			}
			return nil
		},
		file: func(f file) error {
			if err := ctx.Err(); err != nil {
				return &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
			}
			return copyFile(ctx, w, root, f, buf)
		},
	})
}

// onlyWriter keeps io.CopyBuffer from using another buffer than the one given.
type onlyWriter struct{ io.Writer }

// copyFile writes the content of one file. Its path has no links, and leads to a
// regular file that the unpacking made: anything else is damage.
func copyFile(ctx context.Context, w io.Writer, root *os.File, f file, buf []byte) error {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(int(root.Fd()), f.path, &how)
	for errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) && ctx.Err() == nil {
		fd, err = unix.Openat2(int(root.Fd()), f.path, &how)
	}
	if err != nil {
		return errors.Join(errChanged(f.path), &os.PathError{Op: "openat2", Path: f.path, Err: err})
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("fstat %s: %w", f.path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size != f.size {
		return errChanged(f.path)
	}
	return f.eachRun(func(offset, length int64) error {
		for length > 0 {
			n, err := unix.Pread(fd, buf[:min(int64(len(buf)), length)], offset)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil:
				return &os.PathError{Op: "read", Path: f.path, Err: err}
			case n == 0:
				return errChanged(f.path)
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
			}
			offset, length = offset+int64(n), length-int64(n)
		}
		return nil
	})
}
