package snapshot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/testenv"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, err error) bool {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	return err == nil
}

// inNamespace runs f where its mounts are seen by nobody else.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	testenv.InNamespace(t, unix.CLONE_NEWNS, func() { f(t) })
}

// layer commits a layer made by fill.
func layer(t testing.TB, s *Store, parent string, fill func(dir string)) string {
	t.Helper()
	d, err := s.Begin(parent)
	must(t, err)
	if fill != nil {
		fill(d.Dir())
	}
	id, err := d.Commit(context.Background())
	must(t, err)
	return id
}

func write(t testing.TB, dir string, files ...string) {
	t.Helper()
	for _, f := range files {
		path := filepath.Join(dir, f)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(f), 0o644))
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

// collect is GC and Reclaim.
func collect(t testing.TB, s *Store, inUse func(id string) bool) {
	t.Helper()
	must(t, s.GC(inUse))
	_, err := s.Reclaim(context.Background())
	must(t, err)
}

func TestOpenTouchesNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "data")
	s := Open(root)
	collect(t, s, func(string) bool { return false })
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data root exists: %v", err)
	}
}

func TestImageLayersHaveDockersLayout(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	root := filepath.Join(t.TempDir(), "data")
	s := Open(root)
	base := layer(t, s, "", func(dir string) { write(t, dir, "bin/sh") })
	top := layer(t, s, base, nil)

	for path, want := range map[string]os.FileMode{root: 0o700, s.Dir(): 0o700, s.Dir() + "/l": 0o700, s.Diff(base): 0o755, s.Diff(top): 0o755} {
		st, err := os.Stat(path)
		must(t, err)
		if st.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, st.Mode().Perm(), want)
		}
	}
	if got := names(t, s.Path(base)); got != "committed diff link" {
		t.Errorf("a base layer holds %s", got)
	}
	if got := names(t, s.Path(top)); got != "committed diff link lower work" {
		t.Errorf("a second layer holds %s", got)
	}
	link := read(t, s.Path(base)+"/link")
	if target, err := os.Readlink(s.Dir() + "/l/" + link); err != nil || target != "../"+base+"/diff" {
		t.Errorf("l/%s -> %s, %v", link, target, err)
	}
	if got := read(t, s.Path(top)+"/lower"); got != "l/"+link {
		t.Errorf("lower = %s, want l/%s", got, link)
	}
	if got := read(t, s.Dir()+"/"+strings.TrimSpace(read(t, s.Path(top)+"/lower"))+"/bin/sh"); got != "bin/sh" {
		t.Errorf("through the short link: %q", got)
	}
	third := layer(t, s, top, nil)
	if got, err := s.Below(third); err != nil || !slices.Equal(got, []string{top, base}) {
		t.Errorf("Below = %v, %v", got, err)
	}
}

func TestWritableLayer(t *testing.T) {
	s := Open(t.TempDir())
	base := layer(t, s, "", func(dir string) { write(t, dir, "etc/passwd") })
	top := layer(t, s, base, func(dir string) {
		write(t, dir, "data")
		must(t, os.Chmod(dir, 0o711))
		must(t, os.Chown(dir, 12, 34))
	})
	id := ident.New()
	must(t, s.Prepare(id, top))
	if got := names(t, s.Path(id)); got != "diff link lower merged work" {
		t.Errorf("a writable layer holds %s", got)
	}
	below, err := s.Below(id)
	if err != nil || !slices.Equal(below, []string{top + "-init", top, base}) {
		t.Errorf("Below = %v, %v", below, err)
	}
	var st unix.Stat_t
	must(t, unix.Stat(s.Diff(id), &st))
	if st.Mode&0o7777 != 0o711 || st.Uid != 12 || st.Gid != 34 {
		t.Errorf("the root directory is %o %d:%d, want 711 12:34", st.Mode&0o7777, st.Uid, st.Gid)
	}
	if err := s.Prepare(id, top); !errors.Is(err, errdefs.AlreadyExists) {
		t.Errorf("second Prepare: %v", err)
	}
	data, err := s.GraphData(id)
	must(t, err)
	if want := s.Diff(top+"-init") + ":" + s.Diff(top) + ":" + s.Diff(base); data["LowerDir"] != want {
		t.Errorf("LowerDir = %s\nwant %s", data["LowerDir"], want)
	}
	if data["UpperDir"] != s.Diff(id) || data["WorkDir"] != s.Path(id)+"/work" || data["MergedDir"] != s.Merged(id) {
		t.Errorf("GraphData = %v", data)
	}
	inNamespace(t, func(t *testing.T) {
		for range 2 { // the second mount does nothing
			check(t, s.Mount(t.Context(), id, MountOptions{}))
		}
		if got := names(t, s.Merged(id)); got != ".dockerenv data dev etc proc sys" {
			t.Errorf("the container's root holds %s", got)
		}
		if got := names(t, s.Merged(id)+"/etc"); got != "hostname hosts mtab passwd resolv.conf" {
			t.Errorf("its /etc holds %s", got)
		}
		check(t, os.WriteFile(s.Merged(id)+"/hello", []byte("12345"), 0o600))
		check(t, os.Link(s.Merged(id)+"/hello", s.Merged(id)+"/hello2"))
		if got := names(t, s.Diff(id)); got != "hello hello2" {
			t.Errorf("the upper directory holds %s: the init layer did not hide the mount points", got)
		}
		if n, err := s.Usage(id); err != nil || n != 5 {
			t.Errorf("Usage = %d, %v; want 5: a file of two names counts once", n, err)
		}
		check(t, s.Unmount(id))
		check(t, s.Unmount(id))
		if s.Mounted(id) {
			t.Error("still mounted")
		}
		// A container that is started again keeps what it wrote.
		check(t, s.Mount(t.Context(), id, MountOptions{Volatile: true}))
		check(t, s.Unmount(id))
		check(t, s.Mount(t.Context(), id, MountOptions{Volatile: true}))
		if got := read(t, s.Merged(id)+"/hello2"); got != "12345" {
			t.Errorf("hello2 = %q", got)
		}
		check(t, s.Remove(id)) // mounted: Remove unmounts
	})
	if s.Exists(id) {
		t.Error("the layer exists after Remove")
	}
	if n, err := s.Reclaim(context.Background()); err != nil || n != 1 {
		t.Errorf("Reclaim = %d, %v", n, err)
	}
	must(t, s.Remove(id))
}

func TestContainersShareTheirImage(t *testing.T) {
	s := Open(t.TempDir())
	top := layer(t, s, "", nil)
	var wg sync.WaitGroup
	ids := make([]string, 32)
	for i := range ids {
		ids[i] = ident.New()
		wg.Go(func() {
			if err := s.Prepare(ids[i], top); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want := read(t, s.Path(ids[0])+"/lower")
	for _, id := range ids {
		if got := read(t, s.Path(id)+"/lower"); got != want {
			t.Errorf("lower = %s, another container's is %s", got, want)
		}
	}
	if n := strings.Count(names(t, s.Dir()+"/l"), " ") + 1; n != len(ids)+2 {
		t.Errorf("%d links, want %d: one init layer for all", n, len(ids)+2)
	}
	collect(t, s, func(id string) bool { return true })
	if strings.Contains(names(t, s.Dir()), ".") {
		t.Errorf("left: %s", names(t, s.Dir()))
	}
}

func TestImageWithoutLayers(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "new"))
	must(t, s.Prepare("c1", ""))
	if below, err := s.Below("c1"); err != nil || !slices.Equal(below, []string{"scratch-init"}) {
		t.Errorf("Below = %v, %v", below, err)
	}
	inNamespace(t, func(t *testing.T) {
		check(t, s.Mount(t.Context(), "c1", MountOptions{}))
		if got := names(t, s.Merged("c1")); got != ".dockerenv dev etc proc sys" {
			t.Errorf("root holds %s", got)
		}
		check(t, s.Unmount("c1"))
	})
}

func TestManyLayers(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), strings.Repeat("long", 30)))
	top := ""
	for range 125 {
		top = layer(t, s, top, nil)
	}
	write(t, s.Diff(top), "top")
	must(t, s.Prepare("c", top))
	inNamespace(t, func(t *testing.T) {
		check(t, s.Mount(t.Context(), "c", MountOptions{}))
		if got := read(t, s.Merged("c")+"/top"); got != "top" {
			t.Errorf("top = %q", got)
		}
		check(t, s.Unmount("c"))
	})
}

// Drafts of the dead go at any time, and nothing else does.
func TestCollectDrafts(t *testing.T) {
	s := Open(t.TempDir())
	must(t, s.CollectDrafts(t.Context())) // there is no store yet
	alive, err := s.Begin("")
	must(t, err)
	kept := layer(t, s, "", nil)
	must(t, os.MkdirAll(s.Dir()+"/"+draftPrefix+"dead/diff/x", 0o755))
	must(t, os.MkdirAll(s.Dir()+"/"+trashPrefix+"cut-short/diff/x", 0o755))
	must(t, s.CollectDrafts(t.Context()))
	if got, want := names(t, s.Dir()), filepath.Base(alive.path)+" "+kept+" l"; got != want {
		t.Errorf("left %s\nwant %s", got, want)
	}
	must(t, alive.Discard())
}

func TestGC(t *testing.T) {
	s := Open(t.TempDir())
	keep := layer(t, s, "", nil)
	drop := layer(t, s, "", nil)
	must(t, s.Prepare("kept", keep))
	must(t, s.Prepare("dropped", drop))
	live, err := s.Begin(keep)
	must(t, err)
	must(t, os.MkdirAll(s.Dir()+"/.draft-dead/diff/x", 0o755))
	must(t, os.Symlink("../gone/diff", s.Dir()+"/l/AAAAAAAAAAAAAAAAAAAAAAAAAA"))
	must(t, os.MkdirAll(s.Dir()+"/.trash-old/diff/"+strings.Repeat("d/", 200), 0o755))

	collect(t, s, func(id string) bool { return id == keep || id == "kept" })
	want := []string{filepath.Base(live.path), keep, keep + "-init", "kept", "l"}
	slices.Sort(want)
	if got := names(t, s.Dir()); got != strings.Join(want, " ") {
		t.Errorf("left %s\nwant %s", got, strings.Join(want, " "))
	}
	if n := strings.Count(names(t, s.Dir()+"/l"), " ") + 1; n != 3 {
		t.Errorf("%d links left, want 3", n)
	}
	_, err = live.Commit(context.Background())
	must(t, err)
}

func TestLay(t *testing.T) {
	s := Open(t.TempDir())
	for _, describesRoot := range []bool{true, false} {
		top, err := s.Begin("")
		must(t, err)
		must(t, os.Chmod(top.Dir(), 0o700))
		base := layer(t, s, "", func(dir string) { must(t, os.Chmod(dir, 0o750)) })
		must(t, top.Lay(base, describesRoot))
		id, err := top.Commit(context.Background())
		must(t, err)
		below, err := s.Below(id)
		if err != nil || !slices.Equal(below, []string{base}) || top.Parent() != base {
			t.Errorf("Below = %v, %v", below, err)
		}
		st, err := os.Stat(s.Diff(id))
		must(t, err)
		if want := map[bool]os.FileMode{true: 0o700, false: 0o750}[describesRoot]; st.Mode().Perm() != want {
			t.Errorf("the root directory has mode %v, want %v", st.Mode().Perm(), want)
		}
	}
}

func TestDiscard(t *testing.T) {
	s := Open(t.TempDir())
	d, err := s.Begin("")
	must(t, err)
	write(t, d.Dir(), "x")
	must(t, d.Discard())
	must(t, d.Discard())
	if got := names(t, s.Dir()); got != "l" {
		t.Errorf("left: %s", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	d, err = s.Begin("")
	must(t, err)
	if _, err := d.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit after cancel: %v", err)
	}
	must(t, d.Discard())
}

func TestBadIDs(t *testing.T) {
	s := Open(t.TempDir())
	for _, id := range []string{"", ".", "..", "../x", "a/b", "l", ".draft-x", "a\x00", strings.Repeat("a", 129)} {
		if err := s.Prepare(id, ""); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("Prepare(%q) = %v", id, err)
		}
		if err := s.Remove(id); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("Remove(%q) = %v", id, err)
		}
	}
	if _, err := s.Begin("absent"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("Begin on a missing parent: %v", err)
	}
	if err := s.Prepare("c", "absent"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("Prepare on a missing image: %v", err)
	}
}

func BenchmarkPrepare(b *testing.B) {
	s := Open(b.TempDir())
	top := layer(b, s, layer(b, s, "", nil), nil)
	b.ReportAllocs()
	for b.Loop() {
		must(b, s.Prepare(ident.New(), top))
	}
}

func BenchmarkPrepareMountRemove(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("mounting needs root")
	}
	s := Open(b.TempDir())
	top := layer(b, s, layer(b, s, "", nil), nil)
	for b.Loop() {
		id := ident.New()
		must(b, s.Prepare(id, top))
		f, err := s.MountDetached(b.Context(), id, MountOptions{Volatile: true})
		must(b, err)
		f.Close()
		must(b, s.Remove(id))
	}
}
