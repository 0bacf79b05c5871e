package userns

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

func TestParseRange(t *testing.T) {
	for _, s := range []string{"100000:200000:65536", "1:1:1", "4294967294:1:1", "1:1:4294967294"} {
		r, err := ParseRange(s)
		if err != nil || r.String() != s {
			t.Errorf("%s: %v, %v", s, r, err)
		}
	}
	for _, s := range []string{
		"", "auto", "1:2", "1:2:3:4", "a:1:1", "1:1:0", "0:1:1", "1:0:1", "-1:1:1", "+1:1:1", "1: 1:1", "0x10:1:1", "1_0:1:1",
		"4294967295:1:1", "4294967294:1:2", "1:4294967294:2", "4294967296:1:1", "1:1:4294967295",
	} {
		r, err := ParseRange(s)
		if !errors.Is(err, errdefs.InvalidArgument) || errdefs.HintOf(err) == "" || !strings.Contains(err.Error(), s) {
			t.Errorf("%q: %v, %v", s, r, err)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"100000:100000:65536", "0:0:0", ":::", "4294967295:4294967295:4294967295"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRange(s)
		if err != nil {
			return
		}
		if again, err := ParseRange(r.String()); err != nil || again != r {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, r, again, err)
		}
		uid, gid, err := r.Host(r.Count-1, 0)
		if err != nil || uid == ^uint32(0) || gid == 0 {
			t.Errorf("%q: the last user is %d, %d, %v", s, uid, gid, err)
		}
		if u, g := r.Inside(uid, gid); u != r.Count-1 || g != 0 {
			t.Errorf("%q: back inside %d, %d", s, u, g)
		}
	})
}

func TestTranslate(t *testing.T) {
	r := Range{UID: 1000, GID: 5000, Count: 10}
	if u, g, err := r.Host(9, 3); u != 1009 || g != 5003 || err != nil {
		t.Errorf("host: %d %d %v", u, g, err)
	}
	if _, _, err := r.Host(0, 10); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a group beyond the range: %v", err)
	}
	for _, c := range [][4]uint32{{1009, 5003, 9, 3}, {1010, 4999, nobody, nobody}, {0, 0, nobody, nobody}, {999, 5000, nobody, 0}} {
		if u, g := r.Inside(c[0], c[1]); u != c[2] || g != c[3] {
			t.Errorf("%v: %d %d", c, u, g)
		}
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func TestNew(t *testing.T) {
	needRoot(t)
	n, err := New(Range{UID: 100000, GID: 200000, Count: 1000}, true)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var user, net, home unix.Stat_t
	err = errors.Join(unix.Stat("/proc/self/ns/user", &home), unix.Fstat(int(n.User.Fd()), &user), unix.Fstat(int(n.Net.Fd()), &net))
	if err != nil || user.Ino == home.Ino {
		t.Errorf("no namespaces of their own: %v %v, %v", user.Ino, net.Ino, err)
	}
	// NS_GET_USERNS of ioctl_ns(2): the network belongs to the user namespace.
	owner, err := unix.IoctlRetInt(int(n.Net.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(owner)
	var st unix.Stat_t
	if unix.Fstat(owner, &st) != nil || st.Ino != user.Ino {
		t.Errorf("the network namespace belongs to %d, not to %d", st.Ino, user.Ino)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %d %v", pid, err)
	}
}

// The map is the one asked for: a file of the disk's user 7 is seen as the
// namespace's user 7.
func TestMapMount(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/f", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir+"/f", 7, 8); err != nil {
		t.Fatal(err)
	}
	n, err := New(Range{UID: 100000, GID: 200000, Count: 1000}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(tree)
	if err := n.MapMount(tree, dir); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(tree, "f", &st, 0); err != nil || st.Uid != 100007 || st.Gid != 200008 {
		t.Errorf("seen as %d:%d, %v", st.Uid, st.Gid, err)
	}
	proc, err := unix.OpenTree(unix.AT_FDCWD, "/proc", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(proc)
	if err := n.MapMount(proc, "/proc"); !errors.Is(err, errdefs.Unsupported) || errdefs.HintOf(err) == "" {
		t.Errorf("a file system without maps: %v", err)
	}
}

func BenchmarkNew(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for b.Loop() {
		n, err := New(Range{UID: 100000, GID: 100000, Count: 65536}, false)
		if err != nil {
			b.Fatal(err)
		}
		n.Close()
	}
}
