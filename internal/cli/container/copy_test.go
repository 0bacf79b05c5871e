package container

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"berth/internal/storage/archive"
)

func TestPlanCopy(t *testing.T) {
	file := func(p string) copyEnd { return copyEnd{p, true, false} }
	dir := func(p string) copyEnd { return copyEnd{p, true, true} }
	absent := func(p string) copyEnd { return copyEnd{path: p} }
	for _, c := range []struct {
		src, dst copyEnd
		want     copyPlan
		err      string
	}{
		{file("/a/f"), dir("/d"), copyPlan{"/d", "f"}, ""},
		{file("/a/f"), file("/d/g"), copyPlan{"/d", "g"}, ""},
		{file("/a/f"), absent("/d/g"), copyPlan{"/d", "g"}, ""},
		{file("/a/f"), absent("/d/g/"), copyPlan{}, "/d/g/: no such directory"},
		{file("/a/f"), file("/d/g/"), copyPlan{}, "/d/g/: not a directory"},
		{file("/a/f/."), dir("/d"), copyPlan{}, "/a/f/.: not a directory"},
		{file("/a/f/"), dir("/d"), copyPlan{}, "/a/f/: not a directory"},
		{dir("/a/s"), dir("/d"), copyPlan{"/d", "s"}, ""},
		{dir("/a/s/"), dir("/d/"), copyPlan{"/d", "s"}, ""},
		{dir("/a/s/."), dir("/d"), copyPlan{"/d", "."}, ""},
		{dir("/a/s"), absent("/d/n"), copyPlan{"/d", "n"}, ""},
		{dir("/a/s"), absent("/d/n/"), copyPlan{"/d", "n"}, ""},
		{dir("/a/s/."), absent("/d/n"), copyPlan{"/d", "n"}, ""},
		{dir("/a/s"), file("/d/g"), copyPlan{}, "cannot copy directory /a/s over the file /d/g"},
		{dir("/"), dir("/d"), copyPlan{"/d", "."}, ""},
		{file("f"), dir("."), copyPlan{".", "f"}, ""},
	} {
		got, err := planCopy(c.src, c.dst)
		if text := ""; err != nil {
			text = err.Error()
			if text != c.err {
				t.Errorf("%s -> %s: %v, want %s", c.src.path, c.dst.path, err, c.err)
			}
		} else if c.err != "" || got != c.want {
			t.Errorf("%s -> %s: got %+v, want %+v (error %s)", c.src.path, c.dst.path, got, c.want, c.err)
		}
	}
}

func TestSplitCopyArg(t *testing.T) {
	for arg, want := range map[string][2]string{
		"c:/a": {"c", "/a"}, "/a:b": {"", "/a:b"}, "./a:b": {"", "./a:b"}, "a": {"", "a"}, "-": {"", "-"}, "c:a:b": {"c", "a:b"},
	} {
		if ref, p := splitCopyArg(arg); [2]string{ref, p} != want {
			t.Errorf("%s: got %q %q", arg, ref, p)
		}
	}
	for p, want := range map[string]string{"etc": "/etc", "/a/b/": "/a/b/", "a/.": "/a/.", "../x": "/x", "/": "/", "": "/", ".": "/"} {
		if got := inContainer(p); got != want {
			t.Errorf("in container %q: got %q, want %q", p, got, want)
		}
	}
}

// A tree of the host survives packing, renaming and unpacking.
func TestCopyTree(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "src"), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(from, "d", "empty"), 0o750))
	must(os.WriteFile(filepath.Join(from, "f"), bytes.Repeat([]byte("0123456789"), 2000), 0o640))
	must(os.Link(filepath.Join(from, "f"), filepath.Join(from, "d", "same")))
	must(os.Symlink("../f", filepath.Join(from, "d", "link")))
	sparse, err := os.Create(filepath.Join(from, "sparse"))
	must(err)
	_, err = sparse.WriteAt([]byte("end"), 1<<20)
	must(err)
	must(sparse.Close())

	dir, err := os.Open(to)
	must(err)
	defer dir.Close()
	ctx := context.Background()
	must(pipe(
		func(w io.Writer) error { return packHost(ctx, from, "first", w) },
		func(r io.Reader) error {
			return pipe(
				func(w io.Writer) error { return archive.Rename(r, w, "first", "second") },
				func(r io.Reader) error {
					_, err := archive.Apply(ctx, dir, r, archive.ApplyOptions{Plain: true})
					return err
				},
			)
		},
	))
	if err := fstest.TestFS(os.DirFS(filepath.Join(to, "second")), "f", "d/same", "d/empty"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"f", "d/same", "sparse"} {
		want, err := os.ReadFile(filepath.Join(from, name))
		must(err)
		if got, err := os.ReadFile(filepath.Join(to, "second", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(got), len(want), err)
		}
	}
	if got, err := os.Readlink(filepath.Join(to, "second/d/link")); err != nil || got != "../f" {
		t.Errorf("link %q, %v", got, err)
	}
	a, errA := os.Stat(filepath.Join(to, "second/f"))
	b, errB := os.Stat(filepath.Join(to, "second/d/same"))
	if errA != nil || errB != nil || !os.SameFile(a, b) || a.Mode().Perm() != 0o640 {
		t.Errorf("hard link or mode lost: %v %v", errA, errB)
	}
}

func TestPipeErrors(t *testing.T) {
	full := func(w io.Writer) error { _, err := w.Write(make([]byte, 10)); return err }
	if err := pipe(full, func(io.Reader) error { return io.ErrClosedPipe }); err != io.ErrClosedPipe {
		t.Errorf("the reader's error: %v", err)
	}
	broken := func(io.Writer) error { return os.ErrPermission }
	if err := pipe(broken, func(r io.Reader) error { _, err := io.ReadAll(r); return err }); err != os.ErrPermission {
		t.Errorf("the writer's error: %v", err)
	}
}
