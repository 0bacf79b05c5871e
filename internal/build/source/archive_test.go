package source

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/build/source/sourcetest"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

func TestTar(t *testing.T) {
	for name, data := range sourcetest.Packed(t) {
		if !IsArchive(data[:min(len(data), 512)]) {
			t.Errorf("%s is not recognised", name)
		}
		tmp := t.TempDir()
		tree, err := Tar(context.Background(), bytes.NewReader(data), tmp)
		must(t, err)
		st, err := rootpath.Stat(tree.Root(), "f")
		must(t, err)
		if st.Size != 5 || st.Uid != 5 || st.Gid != 6 {
			t.Errorf("%s: %d bytes of %d:%d", name, st.Size, st.Uid, st.Gid)
		}
		if info, err := os.Stat(tree.dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("others may enter: %v, %v", info.Mode(), err)
		}
		must(t, tree.Close())
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
}

func TestTarErrors(t *testing.T) {
	all := sourcetest.Packed(t)
	for name, data := range map[string][]byte{
		"nothing": nil, "zeros": make([]byte, 2048), "text": []byte("FROM scratch\n"), "cut gzip": all["gzip"][:40], "cut xz": all["xz"][:100], "cut bzip2": all["bzip2"][:50],
		"cut zstd": all["zstd"][:20], "up": sourcetest.Tar(t, tar.Header{Name: "../f"}), "through a link": sourcetest.Tar(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, tar.Header{Name: "l/canary"}),
		"hard link out": sourcetest.Tar(t, tar.Header{Name: "h", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "gzip of nothing": {0x1f, 0x8b, 8},
	} {
		tmp := t.TempDir()
		tree, err := Tar(context.Background(), bytes.NewReader(data), tmp)
		if err == nil {
			t.Errorf("%s is taken", name)
			tree.Close()
		} else if strings.Contains(err.Error(), tmp) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q", name, err)
		}
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("%s leaves %v", name, left)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Tar(ctx, bytes.NewReader(all["plain"]), t.TempDir()); !errors.Is(err, errdefs.Cancelled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestIsArchive(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "FROM scratch\n", "# BZip", "\x1f\x8b", strings.Repeat("\x00", 512), strings.Repeat("a", 512), strings.Repeat("F", 148) + "        " + strings.Repeat("F", 400)} {
		if IsArchive([]byte(text)) {
			t.Errorf("%.20q is an archive", text)
		}
	}
}

func FuzzIsArchive(f *testing.F) {
	f.Add(sourcetest.Tar(f, tar.Header{Name: "f"}))
	f.Add([]byte("FROM scratch"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 512 {
			return
		}
		_, err := tar.NewReader(bytes.NewReader(append(bytes.Clone(b), make([]byte, 1024)...))).Next()
		if err == nil && !IsArchive(b) {
			t.Errorf("the standard library reads what is not recognised")
		}
	})
}

// TestUnpackOthers: a window of a GiB, which a stream may ask for, is refused.
func TestUnpackLargeWindow(t *testing.T) {
	t.Parallel()
	// Frame header descriptor 0, window descriptor: exponent 20 (2^30).
	p, err := Unpack(bytes.NewReader([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00}))
	if err == nil {
		_, err = io.ReadAll(p)
		p.Close()
	}
	if err == nil {
		t.Error("a window of 1 GiB is taken")
	}
}

// TestSumOfKinds: no kind of file makes Sum wait or read what it must not.
func TestSumOfKinds(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(dir+"/p", 0o600))
	must(t, unix.Mknod(dir+"/zero", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))))
	must(t, os.Symlink("/dev/zero", dir+"/l"))
	for _, name := range []string{"p", "zero", "l"} {
		_ = sum(t, nil, dir+"/"+name)
	}
}
