package verify

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/solve"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// layer makes a layer of the store; fill gets its directory.
func layer(t *testing.T, root, text string, fill func(dir string)) solve.Layer {
	t.Helper()
	d, err := snapshot.Open(root).Begin("")
	must(t, err)
	fill(d.Dir())
	_, err = d.CommitUnsynced(t.Context())
	must(t, err)
	return solve.Layer{ID: d.ID(), Text: text}
}

var (
	early = time.Unix(1e9, 0)
	late  = time.Unix(1.5e9, 0)
)

func write(t *testing.T, path, text string, mode os.FileMode, at time.Time) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), mode))
	must(t, os.Chmod(path, mode))
	must(t, os.Chtimes(path, at, at))
}

func needRoot(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("layers of other owners need root")
	}
	return t.TempDir()
}

func TestSame(t *testing.T) {
	root := needRoot(t)
	fill := func(at time.Time) func(string) {
		return func(dir string) { write(t, dir+"/a", "x", 0o644, at); must(t, os.Chtimes(dir, early, early)) }
	}
	a := &solve.Result{Plan: &plan.Plan{Epoch: &early}, Layers: []solve.Layer{layer(t, root, "RUN a", fill(late))}}
	b := &solve.Result{Plan: a.Plan, Layers: []solve.Layer{layer(t, root, "RUN a", fill(late.Add(time.Hour)))}}
	r, err := Compare(t.Context(), root, a, b, true)
	if err != nil || !r.Same() || r.Total != 1 {
		t.Errorf("rewritten: %+v, %v", r, err)
	}
	r, err = Compare(t.Context(), root, a, b, false)
	if err != nil || r.Same() || r.Times != 1 || r.TimesAlone != 1 || r.Layers[0].Files[0].Path != "/a" || !strings.HasPrefix(r.Layers[0].Files[0].What[0], "time 2017-07-14T02:40:00Z, ") {
		t.Errorf("as they are: %+v, %v", r, err)
	}
	if r, err = Compare(t.Context(), root, a, a, false); err != nil || !r.Same() {
		t.Errorf("with itself: %+v, %v", r, err)
	}
}

func TestDifferences(t *testing.T) {
	root := needRoot(t)
	first := layer(t, root, "RUN a", func(dir string) {
		write(t, dir+"/content", "same\none\n", 0o644, early)
		write(t, dir+"/binary", "\x00one", 0o644, early)
		write(t, dir+"/mode", "", 0o644, early)
		write(t, dir+"/owner", "", 0o644, early)
		write(t, dir+"/xattr", "", 0o644, early)
		write(t, dir+"/same", "", 0o644, early)
		write(t, dir+"/gone", "", 0o644, early)
		must(t, os.Symlink("x", dir+"/link"))
		must(t, os.Mkdir(dir+"/type", 0o755))
		must(t, unix.Mknod(dir+"/device", unix.S_IFCHR, int(unix.Mkdev(1, 3))))
		must(t, os.Mkdir(dir+"/d", 0o755))
		write(t, dir+"/d/x", "", 0o644, early)
	})
	second := layer(t, root, "RUN a", func(dir string) {
		write(t, dir+"/content", "same\ntwo \"2\"\x1b[2J\n", 0o644, early)
		write(t, dir+"/binary", "\x00two", 0o644, early)
		write(t, dir+"/mode", "", 0o600, early)
		write(t, dir+"/owner", "", 0o644, early)
		must(t, os.Chown(dir+"/owner", 1, 2))
		write(t, dir+"/xattr", "", 0o644, early)
		must(t, unix.Setxattr(dir+"/xattr", "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
		write(t, dir+"/same", "", 0o644, early)
		must(t, os.Symlink("y", dir+"/link"))
		write(t, dir+"/type", "", 0o755, early)
		must(t, unix.Mknod(dir+"/device", unix.S_IFCHR, int(unix.Mkdev(1, 5))))
		must(t, os.Mkdir(dir+"/d", 0o755))
		write(t, dir+"/d/x", "", 0o644, early)
		write(t, dir+"/new", "", 0o644, early)
	})
	for _, l := range []solve.Layer{first, second} { // what they have in common
		dir := snapshot.Open(root).Diff(l.ID)
		at := []unix.Timeval{unix.NsecToTimeval(early.UnixNano()), unix.NsecToTimeval(early.UnixNano())}
		for _, name := range []string{"link", "type", "device", "d", "xattr"} {
			must(t, unix.Lutimes(dir+"/"+name, at))
		}
	}
	p := &plan.Plan{}
	a := &solve.Result{Plan: p, Layers: []solve.Layer{first, {ID: first.ID, Text: "RUN only first"}}, Config: oci.ImageConfig{Created: &early}}
	b := &solve.Result{Plan: p, Layers: []solve.Layer{second}, Config: oci.ImageConfig{Created: &late}}
	r, err := Compare(t.Context(), root, a, b, false)
	must(t, err)
	if !reflect.DeepEqual(r.Config, []string{"created 2001-09-09T01:46:40Z, 2017-07-14T02:40:00Z"}) {
		t.Errorf("config %q", r.Config)
	}
	want := []File{
		{Path: "/binary", What: []string{"content"}},
		{Path: "/content", What: []string{"content of 9, 17 bytes"}, Lines: []string{"line 2: one", `line 2: two "2"\x1b[2J`}},
		{Path: "/device", What: []string{"device 1:3, 1:5"}},
		{Path: "/gone", Only: 1},
		{Path: "/link", What: []string{`link "x", "y"`}},
		{Path: "/mode", What: []string{"mode 0644, 0600"}},
		{Path: "/new", Only: 2},
		{Path: "/owner", What: []string{"owner 0:0, 1:2"}},
		{Path: "/type", What: []string{"type directory, file"}},
		{Path: "/xattr", What: []string{`attribute security.capability "", "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"`}},
	}
	if len(r.Layers) != 2 || r.Layers[1].Only != 1 || r.Layers[1].Text != "RUN only first" || r.Total != 2 {
		t.Fatalf("layers %+v", r.Layers)
	}
	if !reflect.DeepEqual(r.Layers[0].Files, want) {
		t.Errorf("got  %+v\nwant %+v", r.Layers[0].Files, want)
	}
	r, err = Compare(t.Context(), root, b, a, false)
	if err != nil || r.Layers[1].Only != 2 {
		t.Errorf("the other way: %+v, %v", r, err)
	}
}

func TestFirstDifference(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want []string
	}{
		{"a\nb", "a\nc", []string{"line 2: b", "line 2: c"}},
		{"a", "a\n", []string{"line 1: a", "line 1: a"}},
		{"a\n", "a\nb\n", []string{"line 2 is not there", "line 2: b"}},
		{"\x00a", "b", nil},
		{strings.Repeat("x", 200), "", []string{"line 1: " + strings.Repeat("x", maxShown) + "...", "line 1 is not there"}},
	} {
		if got := firstDifference(c.a, c.b); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q, %q: %q, want %q", c.a, c.b, got, c.want)
		}
	}
}
