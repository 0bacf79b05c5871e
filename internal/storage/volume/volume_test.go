package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"data": true, "a1": true, "A.b-c_d": true, "0x": true, strings.Repeat("v", 255): true,
		"": false, "a": false, ".hidden": false, "-x": false, "_x": false, "a/b": false, "../x": false, "a b": false, "ä1": false,
		"a\x00": false, "a\n": false, ".trash-x": false, strings.Repeat("v", 256): false,
	} {
		if err := CheckName(name); (err == nil) != ok || err != nil && !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCreateGetListRemove(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("a new store: %v %v", list, err)
	}
	before := time.Now().Add(-time.Second)
	v, err := s.Create("data", Options{Labels: map[string]string{"k": "v"}, Durable: true})
	check(t, err)
	if v.CreatedAt.Before(before) || v.Labels["k"] != "v" || v.Anonymous || v.Path != filepath.Join(s.root, "data/_data") {
		t.Errorf("%+v", v)
	}
	got, err := s.Get("data")
	check(t, err)
	if d := cmp.Diff(v, got); d != "" {
		t.Error(d)
	}
	if again, err := s.Create("data", Options{Labels: map[string]string{"other": ""}}); err != nil || again.Labels["k"] != "v" {
		t.Errorf("created again: %+v %v", again, err)
	}
	anon, err := s.Create("", Options{})
	check(t, err)
	if _, label := anon.Labels[AnonymousLabel]; !label || !anon.Anonymous || len(anon.Name) != 64 {
		t.Errorf("anonymous: %+v", anon)
	}
	for path, want := range map[string]os.FileMode{v.Path: 0o755, filepath.Dir(v.Path): 0o700, filepath.Dir(v.Path) + "/volume.json": 0o600} {
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != want {
			t.Errorf("%s: %v %v", path, fi.Mode(), err)
		}
	}
	list, err := s.List()
	check(t, err)
	if len(list) != 2 {
		t.Errorf("%v", list)
	}
	check(t, os.WriteFile(v.Path+"/file", nil, 0o600))
	err = s.RemoveUnused("data", func() ([]string, error) { return []string{"abc", "def"}, nil })
	if !errors.Is(err, errdefs.Conflict) || !strings.Contains(err.Error(), "remove data: volume is in use - [abc, def]") {
		t.Error(err)
	}
	boom := errors.New("boom")
	if err := s.RemoveUnused("data", func() ([]string, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
	check(t, s.Remove("data"))
	for _, name := range []string{"data", "none", "../x", "", ".lock"} {
		if _, err := s.Get(name); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("Get(%q): %v", name, err)
		}
		if err := s.Remove(name); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("Remove(%q): %v", name, err)
		}
	}
	if names, _ := os.ReadDir(s.root); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	for _, tt := range []struct {
		o  map[string]string
		ok bool
	}{
		{nil, true},
		{map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5"}, true},
		{map[string]string{"type": "none", "device": "/srv"}, true},
		{map[string]string{"type": "tmpfs"}, false},
		{map[string]string{"o": "bind"}, false},
		{map[string]string{"size": "5"}, false},
		{map[string]string{"type": "a", "device": "b\x00c"}, false},
	} {
		name := "v" + fmt.Sprint(len(tt.o), tt.o["device"] == "")
		name = strings.ReplaceAll(name, " ", "-")
		v, err := s.Create(name+tt.o["type"], Options{Driver: tt.o})
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%v: %v", tt.o, err)
		}
		if fstype, dev, opts, ok := v.Mount(); err == nil && (ok != (tt.o != nil) || fstype != tt.o["type"] || dev != tt.o["device"] || strings.Join(opts, ",") != tt.o["o"]) {
			t.Errorf("%v: Mount = %s %s %v %v", tt.o, fstype, dev, opts, ok)
		}
	}
}

// TestDamagedRecord: a power cut may leave volume.json empty.
func TestDamagedRecord(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	v, err := s.Create("data", Options{})
	check(t, err)
	check(t, os.WriteFile(filepath.Dir(v.Path)+"/volume.json", nil, 0o600))
	got, err := s.Get("data")
	if err != nil || got.Path != v.Path || !got.Filled || got.CreatedAt.IsZero() {
		t.Errorf("%+v %v", got, err)
	}
	check(t, s.Remove("data"))
}

// TestRaces creates, fills and removes one name from many goroutines: every
// volume that Create returns is whole.
func TestRaces(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	rootfs := image(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				v, err := s.Create("shared", Options{})
				if err != nil || v.Name != "shared" {
					t.Errorf("create: %+v %v", v, err)
				}
				if i%2 == 0 {
					if err := s.FillFrom(context.Background(), "shared", rootfs, "/srv"); err != nil && !errors.Is(err, errdefs.NotFound) {
						t.Errorf("fill: %v", err)
					}
				}
				if i%4 == 1 {
					if err := s.Remove("shared"); err != nil && !errors.Is(err, errdefs.NotFound) {
						t.Errorf("remove: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	check(t, s.GC())
	names, _ := os.ReadDir(s.root)
	for _, n := range names {
		if n.Name() != "shared" {
			t.Errorf("left: %s", n.Name())
		}
	}
}

func TestGC(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	check(t, s.GC())
	v, err := s.Create("data", Options{})
	check(t, err)
	check(t, os.WriteFile(v.Path+"/f", nil, 0o600))
	check(t, os.Rename(filepath.Dir(v.Path), s.root+"/"+trash+"x")) // a Remove killed after the rename
	check(t, s.GC())
	if names, _ := os.ReadDir(s.root); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

// image makes a root filesystem with content at /srv.
func image(t testing.TB) *os.File {
	t.Helper()
	dir := t.TempDir()
	check(t, os.MkdirAll(dir+"/srv/sub", 0o755))
	check(t, os.WriteFile(dir+"/srv/file", []byte("of the image"), 0o640))
	check(t, os.Symlink("/etc/passwd", dir+"/srv/sub/link"))
	check(t, os.Chmod(dir+"/srv", 0o2775))
	if os.Geteuid() == 0 {
		check(t, os.Chown(dir+"/srv", 70, 71))
		check(t, os.Chmod(dir+"/srv", 0o775|os.ModeSetgid))
		check(t, os.Chown(dir+"/srv/file", 70, 70))
	}
	f, err := os.Open(dir)
	check(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// list returns what is in a volume, by find.
func list(t testing.TB, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", `%P %M %U:%G %s %l\n`).Output()
	check(t, err)
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	for i := range lines { // sizes of directories are the file system's affair
		if f := strings.Fields(lines[i]); strings.Contains(lines[i], " d") && len(f) > 2 {
			lines[i] = strings.Join(f[:len(f)-1], " ")
		}
	}
	return strings.Join(lines, "\n")
}

func TestFillFrom(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	rootfs := image(t)
	v, err := s.Create("data", Options{})
	check(t, err)
	data, err := os.Open(v.Path) // a container that has it mounted already
	check(t, err)
	defer data.Close()
	check(t, s.FillFrom(context.Background(), "data", rootfs, "/srv"))
	want := list(t, rootfs.Name()+"/srv")
	if d := cmp.Diff(sorted(want), sorted(list(t, v.Path))); d != "" {
		t.Error(d)
	}
	if names, err := data.Readdirnames(-1); len(names) != 2 {
		t.Errorf("whoever had the volume mounted sees %v %v", names, err)
	}
	// Never again, not even when a container has emptied it (CVE-2020-1726).
	check(t, os.WriteFile(v.Path+"/file", []byte("of the container"), 0o644))
	check(t, s.FillFrom(context.Background(), "data", rootfs, "/srv"))
	if b, _ := os.ReadFile(v.Path + "/file"); string(b) != "of the container" {
		t.Errorf("filled over: %s", b)
	}
	check(t, os.RemoveAll(v.Path+"/file"))
	check(t, os.RemoveAll(v.Path+"/sub"))
	check(t, s.FillFrom(context.Background(), "data", rootfs, "/srv"))
	if names, _ := os.ReadDir(v.Path); len(names) != 0 {
		t.Errorf("filled twice: %v", names)
	}
	if names, _ := os.ReadDir(filepath.Dir(v.Path)); len(names) != 3 {
		t.Errorf("beside the data: %v", names)
	}
}

func sorted(s string) map[string]bool {
	m := map[string]bool{}
	for _, l := range strings.Split(s, "\n") {
		m[l] = true
	}
	return m
}

func TestFillFromNothing(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	rootfs := image(t)
	check(t, os.Mkdir(rootfs.Name()+"/empty", 0o711))
	for name, path := range map[string]string{"missing": "/none", "file": "/srv/file", "below-a-file": "/srv/file/x", "full": "/srv"} {
		v, err := s.Create(name, Options{})
		check(t, err)
		want := 0
		if name == "full" { // it has files, though berth never filled it
			check(t, os.WriteFile(v.Path+"/own", nil, 0o600))
			want = 1
		}
		check(t, s.FillFrom(context.Background(), name, rootfs, path))
		if names, _ := os.ReadDir(v.Path); len(names) != want {
			t.Errorf("%s: %v", name, names)
		}
	}
	// Later the same volume may be mounted where an image has something: as Docker, it is filled then.
	v, err := s.Get("missing")
	check(t, err)
	check(t, s.FillFrom(context.Background(), "missing", rootfs, "/empty"))
	if fi, _ := os.Stat(v.Path); fi.Mode().Perm() != 0o711 {
		t.Errorf("the mode of an empty directory: %v", fi.Mode())
	}
	check(t, s.FillFrom(context.Background(), "missing", rootfs, "/srv"))
	if names, _ := os.ReadDir(v.Path); len(names) != 2 {
		t.Errorf("%v", names)
	}
	if err := s.FillFrom(context.Background(), "unknown", rootfs, "/srv"); !errors.Is(err, errdefs.NotFound) {
		t.Error(err)
	}
}

// TestFillFromStaysInside: VOLUME "/../../CANARY" and links out of the root (CVE-2022-23648).
func TestGive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	t.Parallel()
	s := Open(t.TempDir())
	owner := func(name string) string {
		var st unix.Stat_t
		check(t, unix.Stat(filepath.Join(s.root, name, "_data"), &st))
		return fmt.Sprint(st.Uid, ":", st.Gid)
	}
	for _, c := range []struct {
		name, want string
		use        func(dir string) error
	}{
		{"new", "1000:2000", func(string) error { return nil }},
		{"used", "0:0", func(dir string) error { return os.WriteFile(dir+"/f", nil, 0o644) }},
		{"owned", "7:0", func(dir string) error { return os.Chown(dir, 7, 0) }},
	} {
		v, err := s.Create(c.name, Options{})
		check(t, err)
		check(t, c.use(v.Path))
		check(t, s.Give(c.name, 1000, 2000))
		check(t, s.Give(c.name, 3000, 3000)) // it is the first one's
		if got := owner(c.name); got != c.want {
			t.Errorf("%s belongs to %s, want %s", c.name, got, c.want)
		}
	}
	if err := s.Give("missing", 1, 1); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("a volume that is not there: %v", err)
	}
}

func TestFillFromStaysInside(t *testing.T) {
	t.Parallel()
	host := t.TempDir()
	check(t, os.WriteFile(host+"/secret", []byte("of the host"), 0o600))
	s := Open(t.TempDir())
	rootfs := image(t)
	up := strings.Repeat("../", 30)
	check(t, os.Symlink(host, rootfs.Name()+"/abs"))
	check(t, os.Symlink(up+host[1:], rootfs.Name()+"/rel"))
	check(t, os.Symlink("/proc/self/root"+host, rootfs.Name()+"/magic"))
	check(t, os.Symlink("/srv", rootfs.Name()+"/inside"))
	check(t, os.Symlink(host+"/secret", rootfs.Name()+"/srv/leak"))
	check(t, os.Mkdir(rootfs.Name()+"/loop", 0o755))
	check(t, os.Symlink("b", rootfs.Name()+"/loop/a"))
	check(t, os.Symlink("a", rootfs.Name()+"/loop/b"))
	for i, tt := range []struct {
		path string
		n    int
		err  error
	}{
		{up + host[1:], 0, nil}, {"/../.." + host, 0, nil}, {"abs", 0, nil}, {"rel", 0, nil}, {"magic", 0, nil},
		{"loop/a", 0, unix.ELOOP}, {"inside", 3, nil}, {"/../../srv", 3, nil},
	} {
		name := fmt.Sprint("v", i)
		v, err := s.Create(name, Options{})
		check(t, err)
		if err := s.FillFrom(context.Background(), name, rootfs, tt.path); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.err)
		}
		names, _ := os.ReadDir(v.Path)
		if len(names) != tt.n {
			t.Errorf("%s: %v", tt.path, names)
		}
		out, _ := exec.Command("grep", "-r", "of the host", v.Path).Output()
		if len(out) > 0 {
			t.Errorf("%s: the host's file was copied: %s", tt.path, out)
		}
	}
}

// TestFillFromTwoContainers starts many containers on one new volume (row 28).
func TestFillFromTwoContainers(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	var images []*os.File
	for i := range 6 {
		f := image(t)
		check(t, os.WriteFile(fmt.Sprint(f.Name(), "/srv/from-", i), nil, 0o644))
		images = append(images, f)
	}
	for round := range 10 {
		name := fmt.Sprint("vol", round)
		var wg sync.WaitGroup
		for _, rootfs := range images {
			wg.Go(func() {
				if _, err := s.Create(name, Options{}); err != nil {
					t.Error(err)
				}
				if err := s.FillFrom(context.Background(), name, rootfs, "/srv"); err != nil {
					t.Error(err)
				}
				// Whoever returns from FillFrom sees it whole.
				if names, _ := os.ReadDir(s.root + "/" + name + "/_data"); len(names) != 3 {
					t.Errorf("%v", names)
				}
			})
		}
		wg.Wait()
	}
}

// TestFillFromCrash puts the volume in the state that a kill at each step leaves.
func TestFillFromCrash(t *testing.T) {
	t.Parallel()
	rootfs := image(t)
	want := sorted(list(t, rootfs.Name()+"/srv"))
	for _, tt := range []struct {
		name string
		lay  func(dir string) // what the dead process left
		heal bool             // Create alone repairs it
	}{
		{"in the copy", func(dir string) {
			check(t, os.MkdirAll(dir+"/_fill.tmp/half/done", 0o700))
		}, false},
		{"before moving", func(dir string) {
			check(t, exec.Command("cp", "-a", rootfs.Name()+"/srv", dir+"/_fill").Run())
		}, true},
		{"while moving", func(dir string) {
			check(t, exec.Command("cp", "-a", rootfs.Name()+"/srv", dir+"/_fill").Run())
			check(t, os.Rename(dir+"/_fill/file", dir+"/_data/file"))
		}, true},
		{"after moving", func(dir string) {
			check(t, exec.Command("cp", "-a", rootfs.Name()+"/srv", dir+"/_fill").Run())
			check(t, os.Rename(dir+"/_fill/file", dir+"/_data/file"))
			check(t, os.Rename(dir+"/_fill/sub", dir+"/_data/sub"))
		}, true},
	} {
		for _, byCreate := range []bool{true, false} {
			s := Open(t.TempDir())
			v, err := s.Create("data", Options{})
			check(t, err)
			tt.lay(filepath.Dir(v.Path))
			if byCreate {
				_, err := s.Create("data", Options{})
				check(t, err)
				if !tt.heal {
					if names, _ := os.ReadDir(v.Path); len(names) != 0 {
						t.Errorf("%s: neither empty nor filled: %v", tt.name, names)
					}
					continue
				}
			} else {
				check(t, s.FillFrom(context.Background(), "data", rootfs, "/srv"))
			}
			if d := cmp.Diff(want, sorted(list(t, v.Path))); d != "" {
				t.Errorf("%s: %s", tt.name, d)
			}
			if got, err := s.Get("data"); err != nil || !got.Filled {
				t.Errorf("%s: %+v %v", tt.name, got, err)
			}
			if names, _ := os.ReadDir(filepath.Dir(v.Path)); len(names) != 3 {
				t.Errorf("%s: left: %v", tt.name, names)
			}
		}
	}
}

func TestFillFromCancelled(t *testing.T) {
	t.Parallel()
	s := Open(t.TempDir())
	rootfs := image(t)
	v, err := s.Create("data", Options{})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.FillFrom(ctx, "data", rootfs, "/srv"); !errors.Is(err, errdefs.Cancelled) {
		t.Error(err)
	}
	if names, _ := os.ReadDir(v.Path); len(names) != 0 {
		t.Errorf("neither empty nor filled: %v", names)
	}
	check(t, s.FillFrom(context.Background(), "data", rootfs, "/srv"))
	if names, _ := os.ReadDir(v.Path); len(names) != 2 {
		t.Errorf("the next attempt: %v", names)
	}
}
