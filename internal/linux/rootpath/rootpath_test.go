package rootpath

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// tree makes a root with a canary directory beside it, as the host would be.
func tree(t *testing.T) (root *os.File, dir, canary string) {
	t.Helper()
	top := t.TempDir()
	dir, canary = filepath.Join(top, "root"), filepath.Join(top, "canary")
	for _, d := range []string{dir, canary, filepath.Join(dir, "etc"), filepath.Join(dir, "a/b")} {
		must(t, os.MkdirAll(d, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(canary, "secret"), []byte("host"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("inside"), 0o644))
	root, err := OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root, dir, canary
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadFileStaysInside(t *testing.T) {
	t.Parallel()
	root, dir, canary := tree(t)
	links := map[string]string{
		"abs":     "/etc/passwd",
		"rel":     "etc/passwd",
		"up":      "../../../../../../etc/passwd",
		"out":     canary + "/secret",
		"outrel":  "../canary/secret",
		"loop":    "loop",
		"chain":   "abs",
		"dirlink": "/etc",
		"magic":   "/proc/self/root/etc/passwd",
	}
	for name, target := range links {
		must(t, os.Symlink(target, filepath.Join(dir, name)))
	}
	tests := []struct {
		path, want string
		err        error
	}{
		{"etc/passwd", "inside", nil},
		{"/etc/passwd", "inside", nil},
		{"../../etc/passwd", "inside", nil},
		{"a/b/../../../etc/passwd", "inside", nil},
		{"abs", "inside", nil},
		{"rel", "inside", nil},
		{"up", "inside", nil},
		{"chain", "inside", nil},
		{"dirlink/passwd", "inside", nil},
		{"out", "", unix.ENOENT},
		{"outrel", "", unix.ENOENT},
		{"../canary/secret", "", unix.ENOENT},
		{"loop", "", unix.ELOOP},
		{"magic", "", unix.ENOENT},
		{"etc", "", errdefs.InvalidArgument},
		{"", "", errdefs.InvalidArgument},
		{"/", "", errdefs.InvalidArgument},
	}
	for _, tt := range tests {
		got, err := ReadFile(root, tt.path, 100)
		if !errors.Is(err, tt.err) || string(got) != tt.want {
			t.Errorf("ReadFile(%q) = %q, %v; want %q, %v", tt.path, got, err, tt.want, tt.err)
		}
	}
}

func TestMagicLinksAreRefused(t *testing.T) {
	t.Parallel()
	host, err := OpenRoot("/")
	must(t, err)
	defer host.Close()
	for _, path := range []string{"/proc/self/root/etc", "/proc/self/cwd", "/proc/self/exe", "/proc/thread-self/fd/0"} {
		if _, err := Open(host, path, unix.O_PATH, 0); !errors.Is(err, unix.ELOOP) {
			t.Errorf("Open(%s) = %v, want ELOOP", path, err)
		}
	}
}

func TestReadFileRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	root, dir, _ := tree(t)
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	if err := unix.Mknod(filepath.Join(dir, "zero"), unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))); err != nil {
		t.Logf("no device node: %v", err)
		must(t, unix.Mkfifo(filepath.Join(dir, "zero"), 0o644))
	}
	must(t, os.WriteFile(filepath.Join(dir, "sparse"), nil, 0o644))
	must(t, os.Truncate(filepath.Join(dir, "sparse"), 1<<30))
	must(t, os.WriteFile(filepath.Join(dir, "exact"), bytes.Repeat([]byte("x"), 1000), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644))
	for path, want := range map[string]error{
		"fifo": errdefs.InvalidArgument, "zero": errdefs.InvalidArgument, "sparse": errdefs.Exhausted, "exact": nil, "empty": nil, "none": unix.ENOENT,
	} {
		done := make(chan error, 1)
		go func() { _, err := ReadFile(root, path, 1000); done <- err }()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("ReadFile(%s) = %v, want %v", path, err, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("ReadFile(%s) blocks", path)
		}
	}
	if _, err := ReadFile(root, "exact", 999); !errors.Is(err, errdefs.Exhausted) {
		t.Errorf("one byte too many: %v", err)
	}
	// procfs files have size 0 and content.
	proc, err := OpenRoot("/proc")
	must(t, err)
	defer proc.Close()
	if b, err := ReadFile(proc, "version", 4096); err != nil || len(b) == 0 {
		t.Errorf("ReadFile(/proc/version) = %q, %v", b, err)
	}
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	root, dir, canary := tree(t)
	must(t, os.Symlink(canary+"/made", filepath.Join(dir, "dangling")))
	must(t, os.Symlink("../../../up", filepath.Join(dir, "a/b/rel")))
	must(t, os.Symlink("x/../loop", filepath.Join(dir, "loop")))
	must(t, os.Symlink("/loop2", filepath.Join(dir, "loop1")))
	must(t, os.Symlink("/loop1", filepath.Join(dir, "loop2")))
	tests := []struct {
		path, made string
		err        error
	}{
		{"n/e/w", "n/e/w", nil},
		{"/abs/olute/", "abs/olute", nil},
		{"../../esc", "esc", nil},
		{"a/b", "a/b", nil},
		{"/", "", nil},
		{"p/../q", "q", nil},
		{"a/b/rel/deep", "up/deep", nil},
		{"dangling/c", canary[1:] + "/made/c", nil},
		{"loop1/x", "", unix.ELOOP},
		{"etc/passwd/x", "", unix.ENOTDIR},
		{strings.Repeat("n", 300), "", unix.ENAMETOOLONG},
	}
	for _, tt := range tests {
		f, err := MkdirAll(root, tt.path, 0o755)
		if !errors.Is(err, tt.err) {
			t.Errorf("MkdirAll(%q) = %v, want %v", tt.path, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		var got, want unix.Stat_t
		must(t, unix.Fstat(int(f.Fd()), &got))
		must(t, unix.Lstat(filepath.Join(dir, tt.made), &want))
		if got.Ino != want.Ino {
			t.Errorf("MkdirAll(%q) is not %s", tt.path, tt.made)
		}
		f.Close()
	}
	if names, _ := os.ReadDir(canary); len(names) != 1 {
		t.Errorf("canary changed: %v", names)
	}
}

func TestCreateParentLinks(t *testing.T) {
	t.Parallel()
	root, dir, canary := tree(t)
	must(t, os.Symlink(canary+"/new", filepath.Join(dir, "trap")))
	must(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	if _, err := Create(root, "trap", 0o600); !errors.Is(err, unix.EEXIST) {
		t.Errorf("Create through a dangling link: %v", err)
	}
	f, err := Create(root, "link/new", 0o640)
	must(t, err)
	f.Close()
	if st, err := os.Lstat(filepath.Join(dir, "etc/new")); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("created: %v %v", st, err)
	}
	if target, err := ReadLink(root, "link"); target != "/etc" || err != nil {
		t.Errorf("ReadLink = %q, %v", target, err)
	}
	if _, err := ReadLink(root, "etc"); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		t.Errorf("ReadLink of a directory: %v", err)
	}
	long := "/" + strings.Repeat("y", 250) + "/" + strings.Repeat("z", 250)
	must(t, os.Symlink(long, filepath.Join(dir, "long")))
	if target, err := ReadLink(root, "long"); target != long || err != nil {
		t.Errorf("ReadLink = %q, %v", target, err)
	}
	if st, err := Lstat(root, "link"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFLNK {
		t.Errorf("Lstat = %o, %v", st.Mode, err)
	}
	if st, err := Stat(root, "link"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		t.Errorf("Stat = %o, %v", st.Mode, err)
	}
	for path, want := range map[string]string{"link/passwd": "passwd", "/": ".", "a/..": ".", "": ".", "a/b/": "b"} {
		f, base, err := Parent(root, path)
		must(t, err)
		if f.Close(); base != want {
			t.Errorf("Parent(%q) = %q, want %q", path, base, want)
		}
	}
}

// TestExchange swaps a directory with a link to the host while paths below it
// are opened and made: the canary is never reached.
func TestExchange(t *testing.T) {
	t.Parallel()
	root, dir, canary := tree(t)
	must(t, os.WriteFile(filepath.Join(dir, "a/b/secret"), []byte("inside"), 0o600))
	must(t, os.Symlink(filepath.Join("../..", "canary"), filepath.Join(dir, "a/swap")))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, dir+"/a/b", unix.AT_FDCWD, dir+"/a/swap", unix.RENAME_EXCHANGE)
			}
		}
	}()
	seen := 0
	for i := range 3000 {
		if b, err := ReadFile(root, "a/../a/b/secret", 100); err == nil {
			if seen++; string(b) != "inside" {
				t.Fatalf("read the host's file: %q", b)
			}
		}
		if f, err := MkdirAll(root, "a/b/made", 0o755); err == nil {
			f.Close()
		}
		if i%100 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	close(stop)
	<-done
	if seen == 0 {
		t.Error("the file was never read: the test shows nothing")
	}
	if names, _ := os.ReadDir(canary); len(names) != 1 {
		t.Errorf("canary changed: %v", names)
	}
}

func TestRemoveAll(t *testing.T) {
	t.Parallel()
	root, dir, canary := tree(t)
	must(t, os.MkdirAll(filepath.Join(dir, "x/y"), 0o755))
	must(t, os.Symlink(canary, filepath.Join(dir, "x/y/link")))
	for range 3000 {
		f, err := os.CreateTemp(filepath.Join(dir, "x/y"), "f")
		must(t, err)
		f.Close()
	}
	// A chain deeper than any path can say.
	fd, err := unix.Open(dir+"/x", unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range 4000 {
		must(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	must(t, RemoveAll(int(root.Fd()), "x"))
	must(t, RemoveAll(int(root.Fd()), "x"))
	if names, _ := os.ReadDir(dir); len(names) != 2 {
		t.Errorf("left: %v", names)
	}
	must(t, RemoveChildren(int(root.Fd())))
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	if names, _ := os.ReadDir(canary); len(names) != 1 {
		t.Errorf("canary changed: %v", names)
	}
}

func TestSplitLast(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][2]string{
		"a": {"", "a"}, "/a": {"", "a"}, "/a/b/": {"/a", "b"}, "a//b": {"a", "b"}, "/": {"", ""}, "": {"", ""}, "a/..": {"a", ".."},
	} {
		if dir, base := SplitLast(path); dir != want[0] || base != want[1] {
			t.Errorf("SplitLast(%q) = %q, %q", path, dir, base)
		}
	}
}

func TestProcPath(t *testing.T) {
	t.Parallel()
	for fd, want := range map[int]string{0: "/proc/self/fd/0", 7: "/proc/self/fd/7", 1048575: "/proc/self/fd/1048575"} {
		if got := ProcPath(fd); got != want {
			t.Errorf("ProcPath(%d) = %s", fd, got)
		}
	}
}
