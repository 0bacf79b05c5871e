package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

func fail(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	fail(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// upperDir is an upper directory with everything that a container can leave in one.
func upperDir(t testing.TB) string {
	dir := t.TempDir()
	fail(t, os.MkdirAll(dir+"/etc/deep/er", 0o751))
	fail(t, os.WriteFile(dir+"/etc/deep/er/file", bytes.Repeat([]byte("x"), 1<<20+17), 0o640))
	fail(t, os.Link(dir+"/etc/deep/er/file", dir+"/hard"))
	fail(t, os.Symlink("../anywhere", dir+"/link"))
	fail(t, os.WriteFile(dir+"/setuid", []byte("s"), 0o755))
	fail(t, os.Chown(dir+"/setuid", 7, 8))
	fail(t, os.Chmod(dir+"/setuid", 0o755|os.ModeSetuid))
	fail(t, unix.Setxattr(dir+"/setuid", "user.note", []byte("n"), 0))
	fail(t, unix.Mkfifo(dir+"/fifo", 0o600))
	fail(t, unix.Mknod(dir+"/gone", unix.S_IFCHR, 0))
	fail(t, os.Mkdir(dir+"/opaque", 0o700))
	fail(t, unix.Setxattr(dir+"/opaque", "trusted.overlay.opaque", []byte("y"), 0))
	for i := range 300 {
		fail(t, os.WriteFile(fmt.Sprint(dir, "/etc/", i), fmt.Append(nil, i), 0o644))
	}
	return dir
}

func TestCopyLayer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("whiteouts need root")
	}
	upper, into := upperDir(t), t.TempDir()
	res, err := CopyLayer(context.Background(), openDir(t, upper), openDir(t, into), DiffOptions{})
	fail(t, err)
	for _, dir := range []string{upper, into} { // the copy gives the same stream as the original
		var tar bytes.Buffer
		_, err := Diff(context.Background(), &tar, openDir(t, dir), DiffOptions{})
		fail(t, err)
		if sum := sha256.Sum256(tar.Bytes()); oci.DigestOfSum(sum[:]) != res.DiffID {
			t.Errorf("the layer of %s is not %s", dir, res.DiffID)
		}
	}
	var st unix.Stat_t
	fail(t, unix.Lstat(into+"/gone", &st))
	if !isWhiteout(&st) {
		t.Error("the whiteout is none in the copy")
	}
	if !isOpaque(int(openDir(t, into+"/opaque").Fd())) {
		t.Error("the opaque directory is none in the copy")
	}
	var a, b unix.Stat_t
	fail(t, unix.Stat(into+"/hard", &a))
	fail(t, unix.Stat(into+"/etc/deep/er/file", &b))
	if a.Ino != b.Ino {
		t.Error("the hard link is a copy")
	}
}

func TestCopyLayerStops(t *testing.T) {
	upper := t.TempDir()
	fail(t, os.WriteFile(upper+"/big", make([]byte, 8<<20), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := CopyLayer(ctx, openDir(t, upper), openDir(t, t.TempDir()), DiffOptions{}); !errors.Is(err, context.Canceled) && !errors.Is(err, errdefs.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
	// The unpacker fails while the packer still has megabytes to write.
	into := t.TempDir()
	fail(t, os.Mkdir(into+"/big", 0o700))
	fail(t, os.WriteFile(into+"/big/x", nil, 0o600))
	gone := openDir(t, into)
	fail(t, os.RemoveAll(into))
	if _, err := CopyLayer(context.Background(), openDir(t, upper), gone, DiffOptions{}); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no directory to copy into: %v", err)
	}
	// And the packer: an overlay attribute that no layer can express.
	if os.Geteuid() == 0 {
		fail(t, unix.Setxattr(upper+"/big", "trusted.overlay.metacopy", nil, 0))
		if _, err := CopyLayer(context.Background(), openDir(t, upper), openDir(t, t.TempDir()), DiffOptions{}); !errors.Is(err, errdefs.Unsupported) {
			t.Errorf("metacopy: %v", err)
		}
	}
}

// BenchmarkCopyLayer shows how a commit compares with `tar -c` of the same tree.
func BenchmarkCopyLayer(b *testing.B) {
	upper := b.TempDir()
	random := rand.NewChaCha8([32]byte{})
	block := make([]byte, 50<<20)
	for i := range 4 {
		random.Read(block)
		fail(b, os.WriteFile(fmt.Sprint(upper, "/", i), block, 0o644))
	}
	b.Run("tar", func(b *testing.B) {
		out := filepath.Join(b.TempDir(), "x.tar")
		for b.Loop() {
			fail(b, exec.Command("tar", "-cf", out, "-C", upper, ".").Run())
			b.StopTimer()
			fail(b, os.Remove(out))
			b.StartTimer()
		}
	})
	b.Run("copy", func(b *testing.B) { benchmarkCopy(b, upper, false) })
	b.Run("copy and sync", func(b *testing.B) { benchmarkCopy(b, upper, true) })
}

func benchmarkCopy(b *testing.B, upper string, sync bool) {
	for b.Loop() {
		into, err := os.MkdirTemp(filepath.Dir(upper), "into")
		fail(b, err)
		dir, err := os.Open(into)
		fail(b, err)
		from, err := os.Open(upper)
		fail(b, err)
		_, err = CopyLayer(b.Context(), from, dir, DiffOptions{})
		fail(b, err)
		if sync {
			fail(b, unix.Syncfs(int(dir.Fd())))
		}
		b.StopTimer()
		dir.Close()
		from.Close()
		fail(b, os.RemoveAll(into))
		b.StartTimer()
	}
}
