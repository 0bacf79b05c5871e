package archive

import (
	"archive/tar"
	"bytes"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Delete removes what whiteouts name, and nothing that the stream itself brings.
func TestApplyDelete(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	fail(t, os.MkdirAll(dir+"/old/deep/er", 0o755))
	fail(t, os.MkdirAll(dir+"/cleared/inside", 0o700))
	fail(t, os.WriteFile(dir+"/file", []byte("x"), 0o644))
	fail(t, os.WriteFile(dir+"/stays", []byte("x"), 0o644))
	fail(t, os.Symlink("/", dir+"/link"))
	raw := stream(t,
		e{name: ".wh.old"}, e{name: ".wh.file"}, e{name: ".wh.never"}, e{name: ".wh.link"},
		e{name: "cleared/", typ: tar.TypeDir, mode: 0o755}, e{name: "cleared/.wh..wh..opq"}, e{name: "cleared/new", data: "n"})
	_, err := Apply(t.Context(), openDir(t, dir), bytes.NewReader(raw), ApplyOptions{Delete: true})
	fail(t, err)
	for name, want := range map[string]error{"old": unix.ENOENT, "file": unix.ENOENT, "link": unix.ENOENT, "cleared/inside": unix.ENOENT, "cleared/new": nil, "stays": nil} {
		var st unix.Stat_t
		if err := unix.Lstat(dir+"/"+name, &st); err != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if n, err := unix.Lgetxattr(dir+"/cleared", "trusted.overlay.opaque", nil); err == nil {
		t.Errorf("the directory is marked, %d bytes", n)
	}
}
