package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file with its directories.
func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(content), 0o644))
}

func open(t testing.TB, dir string) *Tree {
	t.Helper()
	tree, err := Dir(dir)
	must(t, err)
	t.Cleanup(func() { tree.Close() })
	return tree
}

func TestDirErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "x")
	if _, err := Dir(file); !errors.Is(err, errdefs.InvalidArgument) || !strings.Contains(err.Error(), "is not a directory") {
		t.Errorf("a file: %v", err)
	}
	if _, err := Dir(file + "none"); !errors.Is(err, errdefs.NotFound) || errdefs.HintOf(err) == "" {
		t.Errorf("nothing: %v", err)
	}
}

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/b/f"), "x")
	for name, target := range map[string]string{
		"abs": "/a/b", "up": "../../../a", "a/rel": "b", "chain": "abs/../rel", "dangling": "none/x", "self": "self", "root": "/", "file": "a/b/f", "slash": "a/b/",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	root, err := rootpath.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	for path, want := range map[string]string{
		"": "", "/": "", ".": "", "..": "", "a/b/f": "a/b/f", "/a//b/./f/": "a/b/f", "abs/f": "a/b/f", "up/b": "a/b", "a/rel/f": "a/b/f",
		"chain": "a/b", "dangling": "none/x", "dangling/y": "none/x/y", "none/../a": "a", "root/root/a": "a", "a/b/../../..": "", "file/x": "a/b/f/x", "slash/f": "a/b/f",
	} {
		if got, err := Resolve(root, path, nil); got != want || err != nil {
			t.Errorf("Resolve(%q) = %q, %v, want %q", path, got, err, want)
		}
	}
	if _, err := Resolve(root, "self/x", nil); !errors.Is(err, unix.ELOOP) {
		t.Errorf("loop: %v", err)
	}
	var seen []string
	_, err = Resolve(root, "chain/f", func(link string) error { seen = append(seen, link); return nil })
	must(t, err)
	if got := strings.Join(seen, " "); got != "chain abs a/rel" {
		t.Errorf("links on the way: %s", got)
	}
}

// FuzzResolve holds Resolve against what the kernel says.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"a/b", "../x", "l/../f", "/m/n/", "l//l/./m", "f/x"} {
		f.Add(s)
	}
	dir := f.TempDir()
	write(f, filepath.Join(dir, "a/b/f"), "x")
	write(f, filepath.Join(dir, "f"), "x")
	for name, target := range map[string]string{"l": "a", "m": "/a/b", "a/n": "../..", "a/b/o": "../../../l/b"} {
		must(f, os.Symlink(target, filepath.Join(dir, name)))
	}
	root, err := rootpath.OpenRoot(dir)
	must(f, err)
	f.Fuzz(func(t *testing.T, path string) {
		if strings.ContainsRune(path, 0) || len(path) > 1000 {
			return
		}
		real, err := Resolve(root, path, nil)
		if err != nil {
			return
		}
		for name := range strings.SplitSeq(real, "/") {
			if name == "." || name == ".." || name == "" && real != "" {
				t.Fatalf("Resolve(%q) = %q", path, real)
			}
		}
		want, err := rootpath.Stat(root, path)
		if err != nil {
			return // the kernel does not take "none/.." nor "file/.."
		}
		got, err := rootpath.Lstat(root, real)
		if err != nil || got.Ino != want.Ino {
			t.Errorf("Resolve(%q) = %q, which is another file: %v", path, real, err)
		}
	})
}

func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "x")
	must(t, os.Symlink("f", filepath.Join(dir, "l")))
	must(t, unix.Mkfifo(filepath.Join(dir, "p"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	must(t, os.Chown(filepath.Join(dir, "f"), 3, 4))
	tree := open(t, dir)
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	var st unix.Stat_t
	file, err := tree.OpenFile(fd, "f", &st)
	must(t, err)
	unix.Close(file)
	if st.Uid != 0 || st.Gid != 0 {
		t.Errorf("a context's file belongs to %d:%d", st.Uid, st.Gid)
	}
	for _, name := range []string{"l", "p", "d", "none"} {
		if _, err := tree.OpenFile(fd, name, &st); err == nil {
			t.Errorf("%s was opened", name)
		}
	}
}

// TestReadFile: a Dockerfile or .dockerignore that is a link leads nowhere but into the context.
func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc/shadow"), "inside")
	must(t, os.Symlink("/etc/shadow", filepath.Join(dir, ".dockerignore")))
	must(t, os.Symlink("../../../../../../../etc/hostname", filepath.Join(dir, "up")))
	must(t, unix.Mkfifo(filepath.Join(dir, "p"), 0o600))
	tree := open(t, dir)
	if b, err := tree.ReadFile(".dockerignore", 100); string(b) != "inside" || err != nil {
		t.Errorf("got %q, %v", b, err)
	}
	for _, name := range []string{"up", "p", "../x"} {
		if b, err := tree.ReadFile(name, 100); err == nil {
			t.Errorf("%s: %q", name, b)
		}
	}
}
