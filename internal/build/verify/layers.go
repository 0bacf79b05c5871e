package verify

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"berth/internal/build/export"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/snapshot"
)

// comparison compares layers of one data root.
type comparison struct {
	dataRoot string
	latest   *time.Time
	report   *Report
}

// entry is a file of a layer: its header, and the digest of its content.
type entry struct {
	*tar.Header
	sum [sha256.Size]byte
}

// layers compares two layers by the tars that would be written of them: what
// is not in there is not in the image.
func (c *comparison) layers(ctx context.Context, a, b solve.Layer) ([]File, error) {
	if a.ID == b.ID {
		return nil, nil
	}
	left, err := c.entries(ctx, a)
	if err != nil {
		return nil, err
	}
	right, err := c.entries(ctx, b)
	if err != nil {
		return nil, err
	}
	paths := map[string]bool{}
	for p := range left {
		paths[p] = true
	}
	for p := range right {
		paths[p] = true
	}
	var files []File
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		x, inLeft := left[path]
		y, inRight := right[path]
		switch {
		case !inRight:
			files = append(files, File{Path: path, Only: 1})
		case !inLeft:
			files = append(files, File{Path: path, Only: 2})
		default:
			f := c.file(path, x, y)
			if len(f.What) == 0 {
				continue
			}
			if x.sum != y.sum && x.Typeflag == tar.TypeReg && y.Typeflag == tar.TypeReg {
				if f.Lines, err = c.lines(a, b, path); err != nil {
					return nil, err
				}
			}
			files = append(files, f)
		}
	}
	return files, nil
}

// entries reads the tar of a layer.
func (c *comparison) entries(ctx context.Context, l solve.Layer) (map[string]entry, error) {
	out, in := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := export.LayerTar(ctx, in, c.dataRoot, l, c.latest)
		in.CloseWithError(err)
		written <- err
	}()
	all, err := readTar(out)
	out.CloseWithError(errors.New("the reader has gone"))
	if werr := <-written; werr != nil {
		err = werr
	}
	return all, errdefs.Wrap(err, "read the layer of", l.Text)
}

func readTar(r io.Reader) (map[string]entry, error) {
	all := map[string]entry{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, r)
			return all, err
		}
		if err != nil {
			return nil, err
		}
		e := entry{Header: h}
		sum := sha256.New()
		if _, err := io.Copy(sum, t); err != nil {
			return nil, err
		}
		sum.Sum(e.sum[:0])
		all["/"+strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")] = e
	}
}

// file says in what two entries differ.
func (c *comparison) file(path string, a, b entry) File {
	f := File{Path: path}
	note := func(what string, x, y any) { f.What = append(f.What, fmt.Sprintf("%s %v, %v", what, x, y)) }
	if a.Typeflag != b.Typeflag {
		note("type", kind(a.Typeflag), kind(b.Typeflag))
	}
	if a.Mode != b.Mode {
		note("mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode))
	}
	if a.Uid != b.Uid || a.Gid != b.Gid {
		note("owner", fmt.Sprintf("%d:%d", a.Uid, a.Gid), fmt.Sprintf("%d:%d", b.Uid, b.Gid))
	}
	if a.Linkname != b.Linkname {
		note("link", fmt.Sprintf("%q", a.Linkname), fmt.Sprintf("%q", b.Linkname))
	}
	if a.Devmajor != b.Devmajor || a.Devminor != b.Devminor {
		note("device", fmt.Sprintf("%d:%d", a.Devmajor, a.Devminor), fmt.Sprintf("%d:%d", b.Devmajor, b.Devminor))
	}
	if x, y := attributes(a.Header), attributes(b.Header); !maps.Equal(x, y) {
		for _, key := range slices.Sorted(maps.Keys(merged(x, y))) {
			if x[key] != y[key] {
				note("attribute "+key, fmt.Sprintf("%q", x[key]), fmt.Sprintf("%q", y[key]))
			}
		}
	}
	if a.sum != b.sum || a.Size != b.Size {
		what := "content"
		if a.Size != b.Size {
			what = fmt.Sprintf("content of %d, %d bytes", a.Size, b.Size)
		}
		f.What = append(f.What, what)
	}
	if !a.ModTime.Equal(b.ModTime) {
		if c.report.Times++; len(f.What) == 0 {
			c.report.TimesAlone++
		}
		note("time", a.ModTime.UTC().Format(time.RFC3339), b.ModTime.UTC().Format(time.RFC3339))
	}
	return f
}

// attributes are the extended attributes of an entry.
func attributes(h *tar.Header) map[string]string {
	const prefix = "SCHILY.xattr."
	all := map[string]string{}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			all[name] = value
		}
	}
	return all
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func kind(typeflag byte) string {
	switch typeflag {
	case tar.TypeReg:
		return "file"
	case tar.TypeLink:
		return "hard link"
	case tar.TypeSymlink:
		return "symbolic link"
	case tar.TypeDir:
		return "directory"
	case tar.TypeFifo:
		return "FIFO"
	}
	return "device"
}

// maxExcerpt is how much of a file is looked at for the lines that differ, in bytes.
const maxExcerpt = 1 << 20

// lines returns the first lines in which the files at path differ.
func (c *comparison) lines(a, b solve.Layer, path string) ([]string, error) {
	x, err := c.head(a, path)
	if err != nil {
		return nil, err
	}
	y, err := c.head(b, path)
	if err != nil {
		return nil, err
	}
	return firstDifference(string(x), string(y)), nil
}

func (c *comparison) head(l solve.Layer, path string) ([]byte, error) {
	root, err := rootpath.OpenRoot(snapshot.Open(c.dataRoot).Diff(l.ID))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var f *os.File
	if f, _, err = rootpath.OpenRegular(root, path); err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxExcerpt))
}

// firstDifference returns "line 3: first" and "line 3: second"; nothing of what is no text.
func firstDifference(a, b string) []string {
	if strings.IndexByte(a, 0) >= 0 || strings.IndexByte(b, 0) >= 0 {
		return nil
	}
	for n := 1; a != "" || b != ""; n++ {
		x, restA, moreA := strings.Cut(a, "\n")
		y, restB, moreB := strings.Cut(b, "\n")
		if x != y || moreA != moreB {
			return []string{lineText(n, x, a == ""), lineText(n, y, b == "")}
		}
		a, b = restA, restB
	}
	return nil
}

func lineText(n int, text string, ended bool) string {
	if ended {
		return fmt.Sprintf("line %d is not there", n)
	}
	return fmt.Sprintf("line %d: %s", n, shown(text))
}

// maxShown bounds a line in a report, in bytes.
const maxShown = 120

// shown makes a line of an image fit for a terminal.
func shown(line string) string {
	if len(line) > maxShown {
		line = line[:maxShown] + "..."
	}
	q := fmt.Sprintf("%q", line)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
