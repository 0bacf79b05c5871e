package copy

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
)

// TestKinds copies a tree with every kind of file from a stage.
func TestKinds(t *testing.T) {
	tree, _ := stage(t, `
		d 1777 d
		f 6755 d/f x
		h d/g d/f
		l d/l /etc/shadow
		p d/p
		c d/c 1 3
		s d/s
		o 1:2 d/f
		f 6755 d/f x
		o 3:4 d/l
		o 5:6 d/p
		x d/f user.a=b
		x d/f trusted.b=c
		x d trusted.overlay.opaque=y
		x d user.overlay.origin=z
		x d user.keep=me
		x d/l trusted.l=1
	`)
	into := t.TempDir()
	_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/"}, Dest: "/"})
	must(t, err)
	want := "c600 0:0 d/c 1,3\nd1777 0:0 d\nf6755 1:2 d/f x\nf6755 1:2 d/g x &d/f\nf755 0:0 d/s\nl 3:4 d/l -> /etc/shadow\np640 5:6 d/p"
	if got := show(t, into); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for name, attrs := range map[string]string{"d/f": "trusted.b user.a", "d": "user.keep", "d/l": "trusted.l"} {
		buf := make([]byte, 1000)
		n, err := unix.Llistxattr(filepath.Join(into, name), buf)
		must(t, err)
		got := strings.Fields(string(bytes.ReplaceAll(buf[:n], []byte{0}, []byte{' '})))
		if len(got) != len(strings.Fields(attrs)) || !strings.Contains(attrs, got[0]) {
			t.Errorf("%s has the attributes %v, want %s", name, got, attrs)
		}
	}
}

// TestCapabilities: file capabilities survive a change of owner.
func TestCapabilities(t *testing.T) {
	tree, dir := stage(t, "f 0755 f x")
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" // cap_net_bind_service=ep
	must(t, unix.Setxattr(filepath.Join(dir, "f"), "security.capability", []byte(capability), 0))
	into := t.TempDir()
	_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/f"}, Dest: "/", Chown: "1:1"})
	must(t, err)
	buf := make([]byte, 100)
	n, err := unix.Getxattr(filepath.Join(into, "f"), "security.capability", buf)
	if err != nil || string(buf[:n]) != capability {
		t.Errorf("got %q, %v", buf[:max(n, 0)], err)
	}
}

// TestAttributesOfAContext: what this host notes on its files is no part of a build.
func TestAttributesOfAContext(t *testing.T) {
	tree, dir := stage(t, "f 0755 d/f x\nx d/f user.where=https://from\nx d user.a=b")
	tree.RootOwned = true
	c := &plan.Copy{Paths: []string{"/d"}, Dest: "/d"}
	digest, err := Digest(t.Context(), Sources{Main: tree}, c, nil)
	must(t, err)
	into := t.TempDir()
	_, err = run(t, tree, into, c)
	must(t, err)
	for _, name := range []string{"d", "d/f"} {
		if n, err := unix.Llistxattr(filepath.Join(into, name), nil); n != 0 || err != nil {
			t.Errorf("%s has attributes: %d, %v", name, n, err)
		}
	}
	must(t, unix.Removexattr(filepath.Join(dir, "d/f"), "user.where"))
	if again, err := Digest(t.Context(), Sources{Main: tree}, c, nil); again != digest || err != nil {
		t.Errorf("another digest %s without the attribute, %v", again, err)
	}
}

// TestTimes: files keep their times, also directories, unless the instruction says one.
func TestTimes(t *testing.T) {
	tree, dir := stage(t, "d 0755 d/e\nf 0644 d/e/f x\nl d/e/l f")
	old := time.Unix(1e9, 123456789)
	for _, name := range []string{"d/e/f", "d/e/l", "d/e", "d"} {
		ts := unix.NsecToTimespec(old.UnixNano())
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, name), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
	created := time.Unix(5, 0)
	for _, at := range []*time.Time{nil, &created} {
		into := t.TempDir()
		_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/d"}, Dest: "/n/x", Created: at})
		must(t, err)
		want := old
		if at != nil {
			want = *at
		}
		for _, name := range []string{"n/x", "n/x/e", "n/x/e/f", "n/x/e/l"} {
			info, err := os.Lstat(filepath.Join(into, name))
			must(t, err)
			if !info.ModTime().Equal(want) {
				t.Errorf("%s has the time %v, want %v", name, info.ModTime(), want)
			}
		}
		if info, _ := os.Lstat(filepath.Join(into, "n")); at != nil && !info.ModTime().Equal(want) {
			t.Errorf("a parent that was made has the time %v", info.ModTime())
		}
	}
}

// TestData copies files of sizes around what is treated differently, and one with holes.
func TestData(t *testing.T) {
	tree, dir := stage(t, "d 0755 d")
	noise := bytes.Repeat([]byte("0123456789abcdef!"), 60_000)
	for _, size := range []int{0, 1, smallFile - 1, smallFile, smallFile + 1, 3*smallFile + 17, len(noise)} {
		must(t, os.WriteFile(filepath.Join(dir, "d", "n"+itoa(size)), noise[:size], 0o644))
	}
	f, err := os.Create(filepath.Join(dir, "d/sparse"))
	must(t, err)
	for _, at := range []int64{1 << 20, 50 << 20} {
		_, err = f.WriteAt(noise, at)
		must(t, err)
	}
	must(t, f.Truncate(1<<30))
	must(t, f.Close())
	must(t, os.WriteFile(filepath.Join(dir, "d/hole"), nil, 0o644))
	must(t, os.Truncate(filepath.Join(dir, "d/hole"), 10<<20))
	// A directory on another file system, where the kernel cannot copy by itself.
	elsewhere, err := os.MkdirTemp("/dev/shm", "copy-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(elsewhere) })
	for _, into := range []string{t.TempDir(), elsewhere} {
		// The digest of a sparse file of 1 GiB takes its time: once is enough.
		err := Into(context.Background(), Sources{Main: tree}, &plan.Copy{Paths: []string{"/d"}, Dest: "/"}, open(t, into), Options{})
		must(t, err)
		names, err := os.ReadDir(filepath.Join(dir, "d"))
		must(t, err)
		for _, n := range names {
			same(t, filepath.Join(dir, "d", n.Name()), filepath.Join(into, n.Name()))
		}
		for name, blocks := range map[string]int64{"sparse": 10_000, "hole": 8} {
			var st unix.Stat_t
			must(t, unix.Stat(filepath.Join(into, name), &st))
			if st.Blocks > blocks {
				t.Errorf("%s takes %d blocks in %s", name, st.Blocks, into)
			}
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// same compares two files, skipping what is a hole in both.
func same(t *testing.T, a, b string) {
	t.Helper()
	fa, err := os.Open(a)
	must(t, err)
	defer fa.Close()
	fb, err := os.Open(b)
	must(t, err)
	defer fb.Close()
	sa, _ := fa.Stat()
	sb, _ := fb.Stat()
	if sa.Size() != sb.Size() {
		t.Errorf("%s has %d bytes, %s %d", a, sa.Size(), b, sb.Size())
		return
	}
	ba, bb := make([]byte, 4<<20), make([]byte, 4<<20)
	for at := int64(0); at < min(sa.Size(), 60<<20); at += int64(len(ba)) {
		n, _ := fa.ReadAt(ba, at)
		m, _ := fb.ReadAt(bb, at)
		if !bytes.Equal(ba[:n], bb[:m]) {
			t.Errorf("%s and %s differ after %d", a, b, at)
			return
		}
	}
}

// TestLinksAcrossSources: hard links are kept within one source.
func TestLinksAcrossSources(t *testing.T) {
	tree, _ := stage(t, "f 0644 a/x 1\nd 0755 b\nh a/y a/x\nh b/z a/x")
	into := t.TempDir()
	_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/a", "/b"}, Dest: "/d/"})
	must(t, err)
	want := "d755 0:0 d\nf644 0:0 d/x 1\nf644 0:0 d/y 1 &d/x\nf644 0:0 d/z 1"
	if got := show(t, into); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestProgress(t *testing.T) {
	tree, _ := stage(t, "f 0644 a xyz\nf 0644 b/c uv\nl l a")
	var files, bytes int64
	c := plan.Copy{Paths: []string{"/"}, Dest: "/"}
	must(t, Into(context.Background(), Sources{Main: tree}, &c, open(t, t.TempDir()), Options{Progress: func(n int64) { files++; bytes += n }}))
	if files != 3 || bytes != 6 {
		t.Errorf("%d files, %d bytes", files, bytes)
	}
}

// TestIgnored: what .dockerignore leaves out is not there, by whatever way it is named.
func TestIgnored(t *testing.T) {
	dir := t.TempDir()
	grow(t, dir, `
		f 0644 secret/key k
		f 0644 secret/public p
		f 0644 gone/x x
		f 0644 kept/y y
		l way secret/key
		l away kept
		l hidden kept/y
	`)
	tree := contextOf(t, dir)
	tree.Ignore = func(rel string, isDir bool) (bool, bool) {
		switch {
		case rel == "secret/public":
			return false, false
		case rel == "secret", strings.HasPrefix(rel, "secret/"), rel == "hidden":
			return true, false
		case rel == "gone", strings.HasPrefix(rel, "gone/"):
			return true, true
		}
		return false, false
	}
	for path, want := range map[string]string{
		"/":              "d755 0:0 kept\nd755 0:0 secret\nf644 0:0 kept/y y\nf644 0:0 secret/public p\nl 0:0 away -> kept\nl 0:0 way -> secret/key",
		"/secret":        "f644 0:0 public p",
		"/secret/public": "f644 0:0 public p",
		"/away":          "f644 0:0 y y",
		"/*/*":           "f644 0:0 public p\nf644 0:0 y y",
		"/*e*":           "f644 0:0 public p\nf644 0:0 y y", // secret and kept, not gone
		"/secret/key":    "", "/gone": "", "/gone/x": "", "/way": "", "/hidden": "",
	} {
		into := t.TempDir()
		_, err := run(t, tree, into, &plan.Copy{Paths: []string{path}, Dest: "/"})
		if want == "" {
			if !errors.Is(err, errdefs.NotFound) || !strings.Contains(errdefs.HintOf(err), ".dockerignore excludes it") {
				t.Errorf("%s: %v (%s)", path, err, errdefs.HintOf(err))
			}
			continue
		}
		must(t, err)
		if got := show(t, into); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
		}
	}
	if _, err := run(t, tree, t.TempDir(), &plan.Copy{Paths: []string{"/secret/none"}, Dest: "/"}); !errors.Is(err, errdefs.NotFound) || errdefs.HintOf(err) != "" {
		t.Errorf("missing: %v (%s)", err, errdefs.HintOf(err))
	}
}
