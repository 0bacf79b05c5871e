package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needRoot skips tests that make devices, owners and trusted attributes.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// describe tells everything of a tree that a layer keeps: path -> one line.
// Times are to the second, as layers have them; those of directories are left out if mtimes is false.
func describe(t testing.TB, dir string, mtimes bool) map[string]string {
	t.Helper()
	out := map[string]string{}
	links := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		line := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" size %d sum %x", st.Size, sha256.Sum256(b))
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" -> %q", target)
		case unix.S_IFCHR, unix.S_IFBLK:
			line += fmt.Sprintf(" dev %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if mtimes || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			line += fmt.Sprintf(" at %d", st.Mtim.Sec)
		}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if links[st.Ino] == "" {
				links[st.Ino] = rel
			}
			line += " linked with " + links[st.Ino]
		}
		out[rel] = line + xattrLine(path)
		return nil
	})
	check(t, err)
	return out
}

func xattrLine(path string) (line string) {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil || n == 0 {
		return ""
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		value := make([]byte, 4096)
		k, err := unix.Lgetxattr(path, name, value)
		if err == nil {
			line += fmt.Sprintf(" %s=%q", name, value[:k])
		}
	}
	return line
}

// canary makes a directory that stands for the host: nothing in it may ever change.
func canary(t testing.TB) (dir string, verify func()) {
	t.Helper()
	dir = t.TempDir()
	check(t, os.WriteFile(dir+"/secret", []byte("of the host"), 0o640))
	check(t, os.Mkdir(dir+"/sub", 0o750))
	check(t, os.WriteFile(dir+"/sub/file", []byte("deep"), 0o600))
	check(t, os.Chtimes(dir+"/sub", time.Unix(1e9, 0), time.Unix(1e9, 0)))
	check(t, os.Chtimes(dir, time.Unix(1e9, 0), time.Unix(1e9, 0)))
	before := describe(t, dir, true)
	return dir, func() {
		t.Helper()
		if after := describe(t, dir, true); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the host's directory changed:\nbefore %v\nafter  %v", before, after)
		}
	}
}

// e is an entry of a crafted stream.
type e struct {
	name string
	typ  byte // 0: regular
	link string
	data string
	mode int64 // 0: 0644, directories 0755
	uid  int
	gid  int
	time int64
	pax  map[string]string
	dev  [2]int64
}

// stream makes a tar of the entries by the standard library.
func stream(t testing.TB, entries ...e) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, x := range entries {
		h := &tar.Header{
			Name: x.name, Typeflag: x.typ, Linkname: x.link, Size: int64(len(x.data)), Mode: x.mode, Uid: x.uid, Gid: x.gid,
			PAXRecords: x.pax, Devmajor: x.dev[0], Devminor: x.dev[1], ModTime: time.Unix(x.time, 0),
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if x.pax != nil {
			h.Format = tar.FormatPAX
		}
		check(t, w.WriteHeader(h))
		_, err := w.Write([]byte(x.data))
		check(t, err)
	}
	check(t, w.Close())
	return b.Bytes()
}

// open opens a directory for Apply and closes it at the end of the test.
func open(t testing.TB, dir string) *os.File {
	t.Helper()
	f, err := os.Open(dir)
	check(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
