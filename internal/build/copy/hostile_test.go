package copy

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
)

// exchange swaps two names again and again until the test ends.
func exchange(t *testing.T, a, b string) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-done })
}

// TestHostileSource swaps directories and files of a source for links to the
// host while they are copied: the host's bytes never arrive.
func TestHostileSource(t *testing.T) {
	tree, dir := stage(t, "f 0644 d/e/secret inside\nf 0644 d/f inside\nd 0755 d/g")
	host := t.TempDir()
	grow(t, host, "f 0600 secret HOST\nf 0600 only HOST")
	grow(t, dir, "l d/swap "+host+"\nl d/h "+host+"/secret\np d/p")
	exchange(t, filepath.Join(dir, "d/e"), filepath.Join(dir, "d/swap"))
	exchange(t, filepath.Join(dir, "d/f"), filepath.Join(dir, "d/h"))
	exchange(t, filepath.Join(dir, "d/g"), filepath.Join(dir, "d/p"))
	good := 0
	for range 150 {
		into := t.TempDir()
		for _, c := range []plan.Copy{
			{Paths: []string{"/d"}, Dest: "/"}, {Paths: []string{"/d/e/secret"}, Dest: "/s"}, {Paths: []string{"/d/e/*"}, Dest: "/w/"},
			{Paths: []string{"/d/f"}, Dest: "/f", Unpack: plan.UnpackLocal},
		} {
			if err := Into(context.Background(), Sources{Main: tree}, &c, open(t, into), Options{}); err == nil {
				good++
			}
			_, _ = Digest(context.Background(), Sources{Main: tree}, &c, nil)
		}
		must(t, filepath.WalkDir(into, func(path string, e fs.DirEntry, err error) error {
			must(t, err)
			if e.Type().IsRegular() {
				if b, _ := os.ReadFile(path); strings.Contains(string(b), "HOST") {
					t.Fatalf("%s holds the host's bytes", path)
				}
			}
			if e.Name() == "only" {
				t.Fatalf("the host's directory was read")
			}
			return nil
		}))
	}
	if good < 20 {
		t.Errorf("only %d copies worked: the test shows little", good)
	}
}

// TestHostileDestination does the same to the tree that is copied into.
func TestHostileDestination(t *testing.T) {
	tree, _ := stage(t, "f 0644 d/sub/f evil\nf 0644 d/secret evil\nl d/l x")
	host, into := t.TempDir(), t.TempDir()
	grow(t, host, "f 0600 secret HOST\nd 0700 sub\nf 0600 sub/f HOST")
	before := show(t, host)
	grow(t, into, "d 0755 x\nd 0755 y/x\nl swap "+host)
	exchange(t, filepath.Join(into, "x"), filepath.Join(into, "swap"))
	exchange(t, filepath.Join(into, "y"), filepath.Join(into, "swap"))
	root, good := open(t, into), 0
	for range 150 {
		for _, c := range []plan.Copy{
			{Paths: []string{"/d"}, Dest: "/x", Chown: "9:9", Chmod: "777"}, {Paths: []string{"/d"}, Dest: "/y/x/z", Chmod: "777"},
			{Paths: []string{"/d/secret"}, Dest: "/x/secret"}, {Paths: []string{"/d/secret"}, Dest: "/y/"},
		} {
			if err := Into(context.Background(), Sources{Main: tree}, &c, root, Options{}); err == nil {
				good++
			}
		}
	}
	if after := show(t, host); after != before {
		t.Errorf("the host's files changed to\n%s", after)
	}
	if good < 20 {
		t.Errorf("only %d copies worked: the test shows little", good)
	}
}

// TestHostileAccounts: an image's passwd and group may be anything.
func TestHostileAccounts(t *testing.T) {
	tree, _ := stage(t, "f 0644 f x")
	for name, lines := range map[string]string{
		"huge":     "f 0644 etc/passwd",
		"fifo":     "d 0755 etc\np etc/passwd",
		"device":   "d 0755 etc\nc etc/passwd 1 5",
		"link":     "d 0755 etc\nl etc/passwd /dev/zero\nd 0755 dev\nc dev/zero 1 5",
		"link out": "d 0755 etc\nl etc/passwd ../../../../../../etc/passwd-",
		"loop":     "d 0755 etc\nl etc/passwd passwd",
		"a dir":    "d 0755 etc/passwd",
		"garbage":  "f 0644 etc/passwd daemon:x:x:x:::",
		"no ids":   "f 0644 etc/passwd daemon",
		"wraps":    "f 0644 etc/passwd daemon:x:4294967296:0:::",
		"negative": "f 0644 etc/passwd daemon:x:-1:0:::",
	} {
		t.Run(name, func(t *testing.T) {
			into := t.TempDir()
			grow(t, into, lines)
			if name == "huge" {
				must(t, os.Truncate(filepath.Join(into, "etc/passwd"), 1<<30))
			}
			start := time.Now()
			_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/f"}, Dest: "/", Chown: "daemon"})
			if err == nil {
				t.Errorf("%s", show(t, into))
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %v", took)
			}
			if _, err := os.Lstat(filepath.Join(into, "f")); err == nil {
				t.Error("the file was made all the same")
			}
		})
	}
}

// TestLinksOfSource: links of a source lead nowhere but into it.
func TestLinksOfSource(t *testing.T) {
	host := t.TempDir()
	grow(t, host, "f 0644 canary HOST")
	tree, _ := stage(t, `
		l abs `+host+`/canary
		l up ../../../../../../../../../..`+host+`/canary
		l proc /proc/self/root`+host+`/canary
		l dir `+host+`
		l loop1 loop2
		l loop2 loop1
		f 0644 x/y z
	`)
	for _, path := range []string{"/abs", "/up", "/proc", "/dir", "/dir/canary", "/../canary", "/dir/*", "/x/../../canary"} {
		into := t.TempDir()
		_, err := run(t, tree, into, &plan.Copy{Paths: []string{path}, Dest: "/"})
		if got := show(t, into); got != "" || err == nil && !strings.Contains(path, "*") {
			t.Errorf("%s: %v, copied %s", path, err, got)
		}
	}
	if _, err := run(t, tree, t.TempDir(), &plan.Copy{Paths: []string{"/loop1/x"}, Dest: "/"}); !errors.Is(err, unix.ELOOP) {
		t.Errorf("loop: %v", err)
	}
}

// TestDeep: directories deeper than a path can say are refused or copied, never half seen.
func TestDeep(t *testing.T) {
	tree, dir := stage(t, "d 0755 d")
	fd, err := unix.Open(filepath.Join(dir, "d"), unix.O_PATH|unix.O_DIRECTORY, 0)
	must(t, err)
	for range maxDepth + 10 {
		must(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	_, err = run(t, tree, t.TempDir(), &plan.Copy{Paths: []string{"/d"}, Dest: "/"})
	if !errors.Is(err, errdefs.Exhausted) && !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v", err)
	}
}
