package tarrecord

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/storage/archive"
)

// unpack unpacks a stream into a new directory and returns it with its record.
func unpack(t testing.TB, stream []byte) (dir string, record []byte, err error) {
	t.Helper()
	dir = t.TempDir()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	w, err := NewWriter(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Apply(t.Context(), root, bytes.NewReader(stream), archive.ApplyOptions{Recorder: w}); err != nil {
		return dir, nil, errors.Join(err, w.Close())
	}
	f, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	record, err = io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return dir, record, nil
}

// again writes the tar of a record.
func again(t testing.TB, dir string, record []byte) ([]byte, error) {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var out bytes.Buffer
	err = Copy(t.Context(), &out, bytes.NewReader(record), root)
	if err == nil {
		size, serr := Size(bytes.NewReader(record))
		if serr != nil || size != int64(out.Len()) {
			t.Errorf("Size is %d (%v), the tar has %d bytes", size, serr, out.Len())
		}
	}
	return out.Bytes(), err
}

// check takes a stream to a directory and back.
func check(t *testing.T, stream []byte) (record []byte) {
	t.Helper()
	dir, record, err := unpack(t, stream)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again(t, dir, record)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, stream) {
		t.Errorf("%d bytes came back as %d others", len(stream), len(got))
	}
	return record
}

type entry struct {
	name, body, link string
	kind             byte
	format           tar.Format
	pax              map[string]string
}

func stream(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Mode: 0o644, Size: int64(len(e.body)), ModTime: time.Unix(1e9, 5), Format: e.format, PAXRecords: e.pax}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func needRoot(t testing.TB) {
	if os.Getuid() != 0 {
		t.Skip("whiteouts need root")
	}
}

func TestEveryForm(t *testing.T) {
	needRoot(t)
	big := make([]byte, 3<<20+17)
	rand.Read(big) //nolint:errcheck // never fails
	long := strings.Repeat("long/", 40) + "name"
	for name, s := range map[string][]byte{
		"empty":      stream(t),
		"no end":     {},
		"ustar":      stream(t, entry{name: "a", body: "one", format: tar.FormatUSTAR}),
		"gnu":        stream(t, entry{name: long, body: "one", format: tar.FormatGNU}),
		"pax":        stream(t, entry{name: long, body: "two", format: tar.FormatPAX, pax: map[string]string{"SCHILY.xattr.user.x": "y"}}),
		"large":      stream(t, entry{name: "big", body: string(big)}, entry{name: "after", body: "x"}),
		"nothing in": stream(t, entry{name: "empty"}, entry{name: "dir/", kind: tar.TypeDir}),
		"whiteouts":  stream(t, entry{name: "d/.wh.x"}, entry{name: "e/.wh..wh..opq"}, entry{name: ".wh.with", body: "data"}),
		"links":      stream(t, entry{name: "a", body: "one"}, entry{name: "b", kind: tar.TypeLink, link: "a"}, entry{name: "c", kind: tar.TypeSymlink, link: "a"}),
		"through a link": stream(t, entry{name: "real/", kind: tar.TypeDir}, entry{name: "l", kind: tar.TypeSymlink, link: "real"}, entry{name: "l/x", body: "one"},
			entry{name: "l", kind: tar.TypeSymlink, link: "elsewhere"}),
		"twice":         stream(t, entry{name: "a", body: "first"}, entry{name: "a", body: "second one"}, entry{name: "a", body: "third"}),
		"twice, linked": stream(t, entry{name: "a", body: "first"}, entry{name: "b", kind: tar.TypeLink, link: "a"}, entry{name: "a", body: "second"}, entry{name: "b", body: "x"}),
		"directory to file": stream(t, entry{name: "d/e/f", body: "deep"}, entry{name: "d/g", body: "flat"}, entry{name: "d", body: "a file now"},
			entry{name: "d/e/f", body: "unlikely"}),
		"behind the end": append(stream(t, entry{name: "a", body: "x"}), make([]byte, 10240)...),
		"rubbish behind": append(stream(t, entry{name: "a", body: "x"}), big[:12345]...),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "directory to file" {
				if _, _, err := unpack(t, s); err == nil {
					t.Fatal("a file below a file was unpacked")
				}
				s = stream(t, entry{name: "d/e/f", body: "deep"}, entry{name: "d/g", body: "flat"}, entry{name: "d", body: "a file now"})
			}
			check(t, s)
		})
	}
}

// TestGNUTar takes what GNU tar makes, sparse files in all its forms among it.
func TestGNUTar(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 1 << 20, 5 << 20, 9<<20 + 3} {
		if _, err := f.WriteAt([]byte("data"), at); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	for i := range 300 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s%d", strings.Repeat("x", i%120), i)), bytes.Repeat([]byte{byte(i)}, i*7), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--format=gnu"}, {"--format=posix"}, {"--format=gnu", "--sparse"},
		{"--format=posix", "--sparse", "--sparse-version=0.0"}, {"--format=posix", "--sparse", "--sparse-version=0.1"}, {"--format=posix", "--sparse", "--sparse-version=1.0"},
		{"--format=gnu", "--blocking-factor=200"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			out, err := exec.Command("tar", append(args, "-C", dir, "-cf", "-", ".")...).Output()
			if err != nil {
				t.Fatal(err)
			}
			record := check(t, out)
			if len(record) > 24<<10 {
				t.Errorf("the record of 302 files has %d bytes", len(record))
			}
		})
	}
}

// TestChangedTree damages what the tar is made from.
func TestChangedTree(t *testing.T) {
	s := stream(t, entry{name: "dir/a", body: "content"})
	for name, damage := range map[string]func(path string) error{
		"gone":   os.Remove,
		"longer": func(p string) error { return os.WriteFile(p, []byte("content and more"), 0o600) },
		"a link": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/hostname", p)) },
		"a fifo": func(p string) error { return errors.Join(os.Remove(p), unix.Mkfifo(p, 0o600)) },
		"a link on the way": func(p string) error {
			return errors.Join(os.Rename(filepath.Dir(p), filepath.Dir(p)+"2"), os.Symlink("dir2", filepath.Dir(p)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, record, err := unpack(t, s)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(dir, "dir/a")); err != nil {
				t.Fatal(err)
			}
			if _, err := again(t, dir, record); errdefs.KindOf(err) != errdefs.Conflict || !strings.Contains(err.Error(), "dir/a") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDamagedRecord(t *testing.T) {
	dir, record, err := unpack(t, stream(t, entry{name: "a", body: strings.Repeat("content", 999)}))
	if err != nil {
		t.Fatal(err)
	}
	for n := range record {
		if _, err := again(t, dir, record[:n]); err == nil {
			t.Fatalf("a record cut after %d of %d bytes was taken", n, len(record))
		}
		bad := bytes.Clone(record)
		bad[n] ^= 0x10
		got, err := again(t, dir, bad)
		if err == nil {
			whole, _ := again(t, dir, record)
			if !bytes.Equal(got, whole) {
				t.Fatalf("a record with byte %d changed was taken for another tar", n)
			}
		}
	}
	if _, err := again(t, dir, append(bytes.Clone(record), record...)); err == nil {
		t.Error("two records in one were taken")
	}
}

func TestCancelled(t *testing.T) {
	dir, record, err := unpack(t, stream(t, entry{name: "a", body: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Copy(ctx, io.Discard, bytes.NewReader(record), root); errdefs.KindOf(err) != errdefs.Cancelled {
		t.Errorf("got %v", err)
	}
}

// FuzzBack: whatever stream can be unpacked can be written again.
func FuzzBack(f *testing.F) {
	needRoot(f)
	f.Add(stream(f, entry{name: "a", body: "one"}, entry{name: "b", kind: tar.TypeLink, link: "a"}, entry{name: "a", body: "two"}))
	f.Add(stream(f, entry{name: "d/x", body: "one"}, entry{name: "d", kind: tar.TypeSymlink, link: "e"}, entry{name: "d/.wh.x"}))
	f.Add(append(stream(f, entry{name: "d/x", body: "one"}), 1, 2, 3))
	f.Fuzz(func(t *testing.T, s []byte) {
		dir, record, err := unpack(t, s)
		if err != nil {
			return
		}
		got, err := again(t, dir, record)
		if err != nil || !bytes.Equal(got, s) {
			t.Errorf("%d bytes came back as %d others: %v", len(s), len(got), err)
		}
	})
}

// FuzzCopy: no record makes Copy do more than fail.
func FuzzCopy(f *testing.F) {
	_, record, err := unpack(f, stream(f, entry{name: "a", body: "one"}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add([]byte(magic + "\x00"))
	f.Add([]byte(magic + "\x06abc\x01\x01a\x03\x03\x01a\x09\x00\x03\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/a", []byte("one"), 0o600); err != nil {
			t.Fatal(err)
		}
		root, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		// The parser behind the compression, which the fuzzer cannot get past, takes the bytes as well.
		var packed bytes.Buffer
		e, err := newEncoder(&packed)
		if err != nil {
			t.Fatal(err)
		}
		e.w.Reset(e.z) // without the first line
		if _, err := e.w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(e.w.Flush(), e.z.Close()); err != nil {
			t.Fatal(err)
		}
		for _, r := range [][]byte{b, packed.Bytes()} {
			_ = Copy(t.Context(), io.Discard, bytes.NewReader(r), root) //nolint:errcheck // an error is fine
		}
	})
}
