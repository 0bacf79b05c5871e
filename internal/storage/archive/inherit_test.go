package archive

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInherit(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("ownership needs root")
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// lowers[0] is the topmost.
	lowers := []string{t.TempDir(), t.TempDir()}
	top, own := lowers[0], t.TempDir()
	mk := func(base, path string, mode os.FileMode, uid int) {
		t.Helper()
		dir := filepath.Join(base, path)
		check(os.MkdirAll(dir, 0o755))
		check(os.Chmod(dir, mode))
		check(os.Chown(dir, uid, uid))
	}
	mk(lowers[1], "tmp", 0o777|os.ModeSticky, 0)
	mk(lowers[1], "home/user", 0o700, 1000)
	mk(lowers[1], "gone/sub", 0o700, 1000)
	mk(lowers[1], "opaque/sub", 0o700, 1000)
	mk(lowers[1], "mine", 0o700, 1000)
	mk(lowers[1], "link", 0o700, 1000)
	mk(lowers[1], "both", 0o700, 1000)
	mk(top, "both", 0o711, 7)
	mk(top, "opaque", 0o755, 0)
	check(unix.Setxattr(filepath.Join(top, "opaque"), "trusted.overlay.opaque", []byte("y"), 0))
	check(unix.Mknod(filepath.Join(top, "gone"), unix.S_IFCHR, 0))
	check(os.Symlink("home", filepath.Join(top, "link")))
	implied := []string{"both", "gone", "gone/sub", "home", "home/user", "link", "mine", "new", "opaque", "opaque/sub", "tmp"}
	for _, p := range implied {
		mk(own, p, 0o755, 0)
	}
	check(unix.Setxattr(filepath.Join(own, "mine"), "trusted.overlay.opaque", []byte("y"), 0))
	check(unix.Setxattr(filepath.Join(lowers[1], "tmp"), "trusted.a", []byte("value"), 0))

	root, err := os.Open(own)
	check(err)
	defer root.Close()
	check(Inherit(root, implied, lowers))
	for path, want := range map[string][2]uint32{
		"tmp": {0o1777, 0}, "home": {0o755, 0}, "home/user": {0o700, 1000}, "both": {0o711, 7},
		"gone": {0o755, 0}, "gone/sub": {0o755, 0}, "opaque": {0o755, 0}, "opaque/sub": {0o755, 0},
		"mine": {0o755, 0}, "link": {0o755, 0}, "new": {0o755, 0},
	} {
		var st unix.Stat_t
		check(unix.Lstat(filepath.Join(own, path), &st))
		if st.Mode&0o7777 != want[0] || st.Uid != want[1] || st.Gid != want[1] {
			t.Errorf("%s has mode %o and owner %d:%d, want %o and %d", path, st.Mode&0o7777, st.Uid, st.Gid, want[0], want[1])
		}
	}
	value := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(own, "tmp"), "trusted.a", value); err != nil || string(value[:n]) != "value" {
		t.Errorf("attribute: %q, %v", value[:n], err)
	}
	if isOpaqueDir(t, filepath.Join(own, "opaque")) {
		t.Error("overlay's own mark was inherited")
	}
}

func isOpaqueDir(t *testing.T, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return isOpaque(int(f.Fd()))
}
