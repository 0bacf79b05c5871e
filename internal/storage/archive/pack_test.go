package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// headers lists a stream as "type name -> link".
func headers(t testing.TB, raw []byte) (out []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(raw))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		check(t, err)
		line := string(h.Typeflag) + " " + h.Name
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		out = append(out, line)
	}
}

func TestPackRoundTrip(t *testing.T) {
	needRoot(t)
	src := sampleTree(t)
	check(t, unix.Setxattr(src+"/file", "user.color", []byte("blue\x00\n="), 0))
	check(t, unix.Setxattr(src+"/empty", "trusted.any", []byte{}, 0))
	check(t, unix.Lsetxattr(src+"/usr/link", "trusted.l", []byte("on a link"), 0))
	check(t, unix.Setxattr(src+"/usr/bin/tool", "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	l, err := net.Listen("unix", src+"/socket")
	check(t, err)
	defer l.Close()
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, src, []unix.Timespec{{Sec: 5}, {Sec: 5}}, 0))
	want := describe(t, src, true)
	delete(want, "socket")
	var one, two bytes.Buffer
	res, err := Pack(context.Background(), &one, open(t, src), ".", PackOptions{Name: "."})
	check(t, err)
	_, err = Pack(context.Background(), &two, open(t, src), "/", PackOptions{Name: "."})
	check(t, err)
	if !bytes.Equal(one.Bytes(), two.Bytes()) || res.Stream != int64(one.Len()) || res.Entries != len(want) {
		t.Errorf("two runs differ, or the result is wrong: %+v", res)
	}
	// Back by our own reader, by GNU tar, and through a file.
	mine := t.TempDir()
	_, err = Apply(context.Background(), open(t, mine), bytes.NewReader(one.Bytes()), ApplyOptions{Plain: true})
	check(t, err)
	if d := cmp.Diff(want, describe(t, mine, true)); d != "" {
		t.Error("berth:", d)
	}
	theirs := t.TempDir()
	cmd := exec.Command("tar", "-C", theirs, "-xp", "--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*")
	cmd.Stdin = bytes.NewReader(one.Bytes())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("tar: %s %v", out, err)
	}
	if d := cmp.Diff(want, describe(t, theirs, true)); d != "" {
		t.Error("GNU tar:", d)
	}
	f, err := os.Create(t.TempDir() + "/out")
	check(t, err)
	defer f.Close()
	_, err = Pack(context.Background(), f, open(t, src), "", PackOptions{Name: "."})
	check(t, err)
	if b, _ := os.ReadFile(f.Name()); !bytes.Equal(b, one.Bytes()) {
		t.Error("written to a file it differs")
	}
}

func TestPackTop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.MkdirAll(dir+"/d/e", 0o755))
	check(t, os.WriteFile(dir+"/d/f", []byte("x"), 0o644))
	check(t, os.Symlink("/d", dir+"/l"))
	check(t, os.Symlink("../../../../../etc", dir+"/out"))
	root := open(t, dir)
	for _, tt := range []struct {
		path string
		o    PackOptions
		want []string
		err  error
	}{
		{"d", PackOptions{Name: "d"}, []string{"5 d/", "5 d/e/", "0 d/f"}, nil},
		{"/d/", PackOptions{Name: "new/name"}, []string{"5 new/name/", "5 new/name/e/", "0 new/name/f"}, nil},
		{"d", PackOptions{}, []string{"5 e/", "0 f"}, nil},
		{"d", PackOptions{Name: "."}, []string{"5 ./", "5 ./e/", "0 ./f"}, nil},
		{"d/f", PackOptions{Name: "g"}, []string{"0 g"}, nil},
		{"d/f", PackOptions{}, nil, errdefs.InvalidArgument},
		{"l", PackOptions{Name: "l"}, []string{"2 l -> /d"}, nil},
		{"l", PackOptions{Name: "l", FollowTop: true}, []string{"5 l/", "5 l/e/", "0 l/f"}, nil},
		{"l/f", PackOptions{Name: "f"}, []string{"0 f"}, nil},
		{"out", PackOptions{Name: "x", FollowTop: true}, nil, errdefs.NotFound},
		{"none", PackOptions{Name: "x"}, nil, errdefs.NotFound},
		{"d/f/x", PackOptions{Name: "x"}, nil, errdefs.NotFound},
	} {
		var b bytes.Buffer
		_, err := Pack(context.Background(), &b, root, tt.path, tt.o)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.path, err, tt.err)
		}
		if err == nil {
			if d := cmp.Diff(tt.want, headers(t, b.Bytes())); d != "" {
				t.Errorf("%s %+v: %s", tt.path, tt.o, d)
			}
		}
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Pack(cancelled, io.Discard, root, "d", PackOptions{}); !errors.Is(err, errdefs.Cancelled) {
		t.Error("cancelled:", err)
	}
}

func TestPackPreciseAndMapped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/f", nil, 0o644))
	check(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/f", []unix.Timespec{{}, {Sec: -3, Nsec: 25}}, 0))
	var b bytes.Buffer
	_, err := Pack(context.Background(), &b, open(t, dir), "f", PackOptions{Name: "f", Precise: true, MapOwner: func(u, g uint32) (uint32, uint32, error) { return 11, 12, nil }})
	check(t, err)
	h, err := tar.NewReader(&b).Next()
	check(t, err)
	if h.ModTime.Unix() != -3 || h.ModTime.Nanosecond() != 25 || h.Uid != 11 || h.Gid != 12 {
		t.Errorf("%+v", h)
	}
}

// TestPackSkipsKernelTrees packs a tree with procfs mounted in it.
func TestPackSkipsKernelTrees(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/proc", 0o755))
	check(t, os.Mkdir(dir+"/tmp", 0o755))
	inMountNamespace(t, func() {
		check(t, unix.Mount("proc", dir+"/proc", "proc", 0, ""))
		check(t, unix.Mount("tmpfs", dir+"/tmp", "tmpfs", 0, ""))
		check(t, os.WriteFile(dir+"/tmp/in", []byte("mounted"), 0o644))
		var b bytes.Buffer
		_, err := Pack(context.Background(), &b, open(t, dir), "", PackOptions{})
		check(t, err)
		if d := cmp.Diff([]string{"5 proc/", "5 tmp/", "0 tmp/in"}, headers(t, b.Bytes())); d != "" {
			t.Error(d)
		}
		// Asked for by name it is there.
		b.Reset()
		_, err = Pack(context.Background(), &b, open(t, dir), "proc/sys/kernel/ostype", PackOptions{Name: "ostype"})
		check(t, err)
	})
}

// inMountNamespace runs f on a thread with its own mounts, which go away with it.
func inMountNamespace(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
			t.Error(err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func TestDiffWhiteouts(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	check(t, os.MkdirAll(dir+"/opaque/sub", 0o755))
	check(t, unix.Setxattr(dir+"/opaque", "trusted.overlay.opaque", []byte("y"), 0))
	check(t, unix.Setxattr(dir+"/opaque/sub", "trusted.overlay.impure", []byte("y"), 0))
	check(t, unix.Setxattr(dir+"/opaque/sub", "trusted.overlay.origin", []byte("handle"), 0))
	check(t, unix.Mknod(dir+"/gone", unix.S_IFCHR, 0))
	check(t, os.Link(dir+"/gone", dir+"/opaque/gone")) // overlay makes all whiteouts links of one
	check(t, os.WriteFile(dir+"/opaque/new", []byte("x"), 0o644))
	var b bytes.Buffer
	_, err := Diff(context.Background(), &b, open(t, dir), DiffOptions{})
	check(t, err)
	want := []string{"0 .wh.gone", "5 opaque/", "0 opaque/.wh..wh..opq", "0 opaque/.wh.gone", "0 opaque/new", "5 opaque/sub/"}
	if d := cmp.Diff(want, headers(t, b.Bytes())); d != "" {
		t.Error(d)
	}
	if strings.Contains(b.String(), "overlay") {
		t.Error("an attribute of overlay's is in the layer")
	}
	back := t.TempDir()
	_, err = Apply(context.Background(), open(t, back), &b, ApplyOptions{})
	check(t, err)
	got := describe(t, back, false)
	if !strings.HasPrefix(got["gone"], "20000 0:0 dev 0,0") || !strings.Contains(got["opaque"], `overlay.opaque="y"`) || got["opaque/gone"] == "" {
		t.Error(got)
	}
	b.Reset()
	_, err = Diff(context.Background(), &b, open(t, dir), DiffOptions{Root: true})
	check(t, err)
	if d := cmp.Diff(append([]string{"5 ./"}, want...), headers(t, b.Bytes())); d != "" {
		t.Error(d)
	}
	for key, value := range map[string]string{"trusted.overlay.redirect": "/x", "trusted.overlay.metacopy": "", "user.overlay.redirect": "y"} {
		d := t.TempDir()
		check(t, os.Mkdir(d+"/d", 0o755))
		check(t, unix.Setxattr(d+"/d", key, []byte(value), 0))
		if _, err := Diff(context.Background(), io.Discard, open(t, d), DiffOptions{}); !errors.Is(err, errdefs.Unsupported) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestDiffOfRealOverlay changes a mounted overlay of two layers at random, makes
// a layer of the upper directory, unpacks that, and mounts the stack again: the
// view must be the same, and Changes must tell how it differs from the one before.
func TestDiffOfRealOverlay(t *testing.T) {
	needRoot(t)
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			top := t.TempDir()
			for _, d := range []string{"base", "mid", "midwork", "upper", "work", "merged", "layer"} {
				check(t, os.Mkdir(filepath.Join(top, d), 0o755))
			}
			mount := func(layers string) bool {
				opts := strings.ReplaceAll(layers, "TOP", top) + ",redirect_dir=off,metacopy=off"
				err := unix.Mount("overlay", top+"/merged", "overlay", 0, opts)
				if err != nil {
					t.Error(err)
				}
				return err == nil
			}
			scramble(t, rng, top+"/base", 150)
			inMountNamespace(t, func() {
				if !mount("lowerdir=TOP/base,upperdir=TOP/mid,workdir=TOP/midwork") {
					return
				}
				scramble(t, rng, top+"/merged", 60)
				check(t, unix.Unmount(top+"/merged", 0))
				if !mount("lowerdir=TOP/mid:TOP/base,upperdir=TOP/upper,workdir=TOP/work") {
					return
				}
				before := listTree(t, top+"/merged")
				scramble(t, rng, top+"/merged", 100)
				after, want := listTree(t, top+"/merged"), describe(t, top+"/merged", true)
				check(t, unix.Unmount(top+"/merged", 0))
				changes, err := Changes(context.Background(), top+"/upper", []string{top + "/mid", top + "/base"})
				check(t, err)
				checkChanges(t, before, after, changes)
				var b bytes.Buffer
				_, err = Diff(context.Background(), &b, open(t, top+"/upper"), DiffOptions{Root: true})
				check(t, err)
				_, err = Apply(context.Background(), open(t, top+"/layer"), bytes.NewReader(b.Bytes()), ApplyOptions{})
				check(t, err)
				if !mount("lowerdir=TOP/layer:TOP/mid:TOP/base") {
					return
				}
				if d := cmp.Diff(want, describe(t, top+"/merged", true)); d != "" {
					t.Error(d)
				}
				check(t, unix.Unmount(top+"/merged", 0))
			})
		})
	}
}

// listTree returns the kind, mode, owner, size and mtime of every path as `docker diff` compares them.
func listTree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d %d", st.Mode, st.Uid, st.Gid, st.Rdev)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			line += fmt.Sprintf(" %d %v", st.Size, st.Mtim)
		}
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			out["/"+rel] = line
		}
		return nil
	}))
	return out
}

// checkChanges compares what Changes found in the upper directory with what the views tell.
func checkChanges(t testing.TB, before, after map[string]string, got []Change) {
	t.Helper()
	want := map[string]byte{}
	for path, line := range after {
		switch old, had := before[path]; {
		case !had:
			want[path] = Added
		case old != line:
			want[path] = Modified
		}
	}
	for path := range before {
		if _, has := after[path]; !has {
			// Below a deleted directory, and below one that is something else now, nothing is told.
			parent := filepath.Dir(path)
			if line, has := after[parent]; parent == "/" || has && strings.HasPrefix(line, "4") {
				want[path] = Deleted
			}
		}
	}
	for path := range want {
		for p := filepath.Dir(path); p != "/"; p = filepath.Dir(p) {
			if want[p] == 0 {
				want[p] = Modified
			}
		}
	}
	have := map[string]byte{}
	for _, c := range got {
		have[c.Path] = c.Kind
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error("changes:", d)
	}
}

// scramble does n random things to a tree.
func scramble(t testing.TB, rng *rand.Rand, dir string, n int) {
	t.Helper()
	name := func() string {
		parts := []string{}
		for range 1 + rng.IntN(3) {
			parts = append(parts, string(rune('a'+rng.IntN(5))))
		}
		return filepath.Join(dir, filepath.Join(parts...))
	}
	for i := range n {
		p := name()
		switch rng.IntN(11) {
		case 0, 1, 2:
			// Not through a link, and not waiting for a FIFO's reader.
			if f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW|unix.O_NONBLOCK, os.FileMode(0o600+rng.IntN(0o177))); err == nil {
				fmt.Fprint(f, "content ", i)
				f.Close()
			}
		case 3, 4:
			_ = os.MkdirAll(p, 0o755)
		case 5:
			_ = rootpath.RemoveAll(unix.AT_FDCWD, p) // os.RemoveAll waits for ever below a FIFO
		case 6:
			_ = os.Symlink(string(rune('a'+rng.IntN(5))), p)
		case 7:
			_ = os.Lchown(p, rng.IntN(3), rng.IntN(3))
		case 8:
			if st, err := os.Lstat(p); err == nil && st.Mode()&os.ModeSymlink == 0 {
				_ = os.Chmod(p, os.FileMode(0o700+rng.IntN(0o77)))
			}
		case 9:
			_ = unix.Mkfifo(p, 0o644)
		case 10:
			_ = os.Rename(p, name())
		}
	}
}

// TestPackWhileReplaced packs a tree in which a file, a directory, a device and
// a link to the host take each other's place all the time.
func TestPackWhileReplaced(t *testing.T) {
	needRoot(t)
	host, verify := canary(t)
	defer verify()
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/x", 0o755))
	check(t, os.WriteFile(dir+"/x/a", []byte("inside"), 0o644))
	check(t, os.Mkdir(dir+"/x/b", 0o755))
	check(t, os.WriteFile(dir+"/x/b/secret", []byte("inside too"), 0o644))
	check(t, os.Symlink(host, dir+"/x/c"))
	check(t, os.Symlink(host+"/secret", dir+"/x/d"))
	check(t, unix.Mkfifo(dir+"/x/e", 0o644))
	names := []string{"a", "b", "c", "d", "e"}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, dir+"/x/"+names[i%5], unix.AT_FDCWD, dir+"/x/"+names[(i/5+1)%5], unix.RENAME_EXCHANGE)
			}
		}
	})
	for range 400 {
		var b bytes.Buffer
		_, err := Pack(context.Background(), &b, open(t, dir), "x", PackOptions{Name: "x"})
		check(t, err)
		if bytes.Contains(b.Bytes(), []byte("of the host")) {
			t.Fatal("the host's file is in the stream")
		}
	}
	close(stop)
	wg.Wait()
}

func TestPackShrinkingFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/log", bytes.Repeat([]byte("x"), 3<<20), 0o644))
	w := &onFirstWrite{do: func() { check(t, os.Truncate(dir+"/log", 1000)) }}
	res, err := Pack(context.Background(), w, open(t, dir), "log", PackOptions{Name: "log"})
	check(t, err)
	h := headers(t, w.Bytes())
	if res.Short != 1 || len(h) != 1 || w.Len() != 512+3<<20+1024 && w.Len() != 512+(3<<20)+1024 {
		t.Errorf("%+v %v %d", res, h, w.Len())
	}
}

type onFirstWrite struct {
	bytes.Buffer
	do func()
}

func (w *onFirstWrite) Write(p []byte) (int, error) {
	if w.do != nil {
		w.do()
		w.do = nil
	}
	return w.Buffer.Write(p)
}

func BenchmarkPack(b *testing.B) {
	dir := b.TempDir()
	for i := range 4000 {
		d := fmt.Sprintf("%s/d%d", dir, i/40)
		check(b, os.MkdirAll(d, 0o755))
		check(b, os.WriteFile(fmt.Sprintf("%s/f%d", d, i), bytes.Repeat([]byte("x"), 3000), 0o644))
	}
	root := open(b, dir)
	b.ReportAllocs()
	for b.Loop() {
		_, err := Pack(context.Background(), io.Discard, root, "", PackOptions{})
		check(b, err)
	}
}
