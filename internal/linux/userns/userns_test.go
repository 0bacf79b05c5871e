package userns

import (
	"errors"
	"os"
	"runtime"
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
	if !owns(n, n.Net) {
		t.Error("the network namespace does not belong to the user namespace")
	}
	host, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if owns(n, host) {
		t.Error("the host's network belongs to a new user namespace")
	}
	noChildren(t)
}

// A second container of the same user namespace has a network of its own there.
func TestOf(t *testing.T) {
	needRoot(t)
	r := Range{UID: 100000, GID: 200000, Count: 1000}
	h, err := hold(unix.CLONE_NEWUSER|unix.CLONE_NEWNET, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(h.writeMap("uid_map", r.UID, r.Count), h.writeMap("gid_map", r.GID, r.Count)); err != nil {
		t.Fatal(err)
	}
	n, err := Of(h.pid, r, true)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var theirs, ours, net unix.Stat_t
	err = errors.Join(unix.Stat(h.file("ns/user"), &theirs), unix.Fstat(int(n.User.Fd()), &ours), unix.Stat(h.file("ns/net"), &net))
	if err != nil || theirs.Ino != ours.Ino || !owns(n, n.Net) {
		t.Errorf("user namespace %d, want %d, %v", ours.Ino, theirs.Ino, err)
	}
	if unix.Fstat(int(n.Net.Fd()), &ours) != nil || ours.Ino == net.Ino {
		t.Error("the network is the first one's")
	}
	h.end()
	noChildren(t)
}

// owns reports whether another namespace belongs to the user namespace (NS_GET_USERNS of ioctl_ns(2)).
func owns(n *Namespace, other *os.File) bool {
	owner, err := unix.IoctlRetInt(int(other.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return false
	}
	defer unix.Close(owner)
	var own, its unix.Stat_t
	return unix.Fstat(int(n.User.Fd()), &own) == nil && unix.Fstat(owner, &its) == nil && own.Ino == its.Ino && own.Dev == its.Dev
}

func noChildren(t *testing.T) {
	t.Helper()
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		t.Errorf("a child is left: %d %v", pid, err)
	}
}

// The map is the one asked for: a file of the disk's user 7 is seen as the
// namespace's user 7.
func TestClone(t *testing.T) {
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
	tree, err := n.Clone(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(tree.Fd()), "f", &st, 0); err != nil || st.Uid != 100007 || st.Gid != 200008 {
		t.Errorf("seen as %d:%d, %v", st.Uid, st.Gid, err)
	}
	if _, err := n.Clone("/proc", false); !errors.Is(err, errdefs.Unsupported) || errdefs.HintOf(err) == "" {
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

// In a mount with a map only the container's root can make files, and it can do
// what the host's can.
func TestAsRoot(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	r := Range{UID: 100000, GID: 200000, Count: 1000}
	n, err := New(r, false)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	mount, err := n.Clone(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer mount.Close()
	tree := int(mount.Fd())
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Mkdirat(tree, "host", 0o755); !errors.Is(err, unix.EOVERFLOW) {
		t.Errorf("as the host's root: %v", err)
	}
	err = r.AsRoot(func() error {
		return errors.Join(unix.Mkdirat(tree, "d", 0o700), unix.Fchownat(tree, "d", 100005, 200006, 0), unix.Mkdirat(tree, "d/e", 0o700),
			unix.Mknodat(tree, "null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	})
	var st unix.Stat_t
	if err != nil || unix.Stat(dir+"/d", &st) != nil || st.Uid != 5 || st.Gid != 6 {
		t.Errorf("as the container's: %v, %d:%d", err, st.Uid, st.Gid)
	}
	if uid, _ := unix.SetfsuidRetUid(-1); uid != 0 {
		t.Errorf("the thread is still user %d", uid)
	}
	if err := os.WriteFile(dir+"/host", nil, 0o600); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
