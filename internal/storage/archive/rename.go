package archive

import (
	"errors"
	"io"
	"path"
	"strings"

	"berth/internal/storage/archive/ustar"
)

// Rename copies a tar whose entries are base and what is below it, giving
// them the name name instead ("." leaves base away). Hard links among them follow.
// It is how cp gives a copy another name than its source has.
func Rename(r io.Reader, w io.Writer, base, name string) error {
	in, out := ustar.NewReader(r, nil, ustar.Limits{}), ustar.NewWriter(w)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return errors.Join(in.Drain(), out.Close())
		}
		if err != nil {
			return err
		}
		renamed := *h
		renamed.Name = renameEntry(h.Name, base, name)
		if h.Type == ustar.TypeLink {
			renamed.Link = renameEntry(h.Link, base, name)
		}
		if err := out.Header(&renamed); err != nil {
			return err
		}
		if h.Type == ustar.TypeReg {
			if err := copyData(in, out, h.Size); err != nil {
				return err
			}
		}
	}
}

// renameEntry gives the entry base/x the name name/x.
func renameEntry(entry, base, name string) string {
	dir := strings.HasSuffix(entry, "/")
	rest := strings.Trim(strings.TrimPrefix(entry, "./"), "/")
	if base != "/" {
		if rest != base && !strings.HasPrefix(rest, base+"/") {
			return entry
		}
		rest = strings.TrimPrefix(rest[len(base):], "/")
	} else if rest == "." {
		rest = ""
	}
	out := path.Join(name, rest)
	if dir {
		out += "/"
	}
	return out
}

// zeros fills the holes of sparse files.
type zeros struct{ block [32 << 10]byte }

func (z *zeros) write(w *ustar.Writer, n int64) error {
	for n > 0 {
		k := min(n, int64(len(z.block)))
		if _, err := w.Write(z.block[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// copyData copies the data of an entry of size bytes, its holes as zeros.
func copyData(in *ustar.Reader, out *ustar.Writer, size int64) error {
	runs, sparse := in.Sparse()
	if !sparse {
		runs = []ustar.Extent{{Offset: 0, Length: size}}
	}
	var z zeros
	var at int64
	var chunk []byte
	for _, run := range runs {
		if err := z.write(out, run.Offset-at); err != nil {
			return err
		}
		for left := run.Length; left > 0; {
			if len(chunk) == 0 {
				var err error
				if chunk, err = in.Data(); err != nil {
					return err
				}
				if len(chunk) == 0 {
					return io.ErrUnexpectedEOF
				}
			}
			n := min(left, int64(len(chunk)))
			if _, err := out.Write(chunk[:n]); err != nil {
				return err
			}
			chunk, left = chunk[n:], left-n
		}
		at = run.Offset + run.Length
	}
	if err := z.write(out, size-at); err != nil {
		return err
	}
	out.Pad(size)
	return nil
}
