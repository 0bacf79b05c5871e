package snapshot

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A layer that is laid on another parent is the same one: deletions, replaced
// directories, attributes; and its files are not copied.
func TestFillFrom(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := Open(t.TempDir())
		one := layer(t, s, "", func(dir string) { write(t, dir, "etc/gone", "etc/old/file", "opt/a") })
		two := layer(t, s, "", func(dir string) {
			write(t, dir, "etc/gone", "etc/old/other", "opt/b")
			must(t, os.Chmod(dir, 0o711))
		})
		d, err := s.Begin(one)
		must(t, err)
		defer d.Discard()
		f, err := d.Mount(t.Context())
		must(t, err)
		must(t, os.Remove(at(f, "etc/gone")))
		must(t, os.RemoveAll(at(f, "etc/old")))
		must(t, os.Mkdir(at(f, "etc/old"), 0o700))
		write(t, at(f, "etc/old"), "new")
		must(t, os.Symlink("new", at(f, "etc/old/link")))
		must(t, os.Chtimes(at(f, "etc/old"), someTime, someTime))
		from, err := d.CommitUnsynced(t.Context())
		must(t, err)

		again, err := s.Begin(two)
		must(t, err)
		defer again.Discard()
		must(t, again.FillFrom(t.Context(), from))
		id, err := again.CommitUnsynced(t.Context())
		must(t, err)
		tree, err := s.MountTree(t.Context(), id)
		must(t, err)
		defer tree.Close()
		if got := names(t, at(tree, "etc")) + "|" + names(t, at(tree, "etc/old")) + "|" + names(t, at(tree, "opt")); got != "old|link new|b" {
			t.Errorf("the tree shows %s", got)
		}
		info, err := os.Stat(at(tree, "etc/old"))
		must(t, err)
		if info.Mode().Perm() != 0o700 || !info.ModTime().Equal(someTime) {
			t.Errorf("etc/old is %v of %v", info.Mode(), info.ModTime())
		}
		if info, err := os.Stat(s.Diff(id)); err != nil || info.Mode().Perm() != 0o711 {
			t.Errorf("the root is %v, %v", info.Mode(), err)
		}
		inode := func(id string) uint64 {
			info, err := os.Stat(s.Diff(id) + "/etc/old/new")
			must(t, err)
			return info.Sys().(*syscall.Stat_t).Ino
		}
		if inode(id) != inode(from) {
			t.Error("the files were copied")
		}
		// Where there can be no more links, they are: the same layer.
		third, err := s.Begin(two)
		must(t, err)
		defer third.Discard()
		must(t, os.RemoveAll(third.Dir()))
		must(t, third.copyTree(t.Context(), s.Diff(from)))
		if got := names(t, third.Dir()+"/etc") + "|" + names(t, third.Dir()+"/etc/old"); got != "gone old|link new" {
			t.Errorf("the copy has %s", got)
		}
		var st unix.Stat_t
		if err := unix.Lstat(third.Dir()+"/etc/gone", &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
			t.Errorf("the deletion was not copied: %v", err)
		}
	})
}

// A layer that changed the root directory brings it along.
func TestFillFromWithARoot(t *testing.T) {
	s := Open(t.TempDir())
	base := layer(t, s, "", func(string) {})
	top := layer(t, s, base, func(dir string) { must(t, os.Chmod(dir, 0o700)) })
	if changed, err := s.RootChanged(top); err != nil || !changed {
		t.Errorf("changed %v, %v", changed, err)
	}
	if changed, err := s.RootChanged(base); err != nil || changed {
		t.Errorf("changed %v, %v", changed, err)
	}
	d, err := s.Begin(base)
	must(t, err)
	defer d.Discard()
	must(t, d.FillFrom(t.Context(), top))
	if info, err := os.Stat(d.Dir()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the root is %v, %v", info.Mode(), err)
	}
}

func TestKinds(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := Open(t.TempDir())
		a := layer(t, s, "", func(string) {})
		b := layer(t, s, a, func(string) {})
		other := layer(t, s, "", func(string) {})
		id := strings.Repeat("c", 64)
		must(t, s.Prepare(id, b))
		if !s.Committed(a) || s.Committed(id) || s.Committed("absent") {
			t.Error("image layers and writable ones are not told apart")
		}
		under, err := s.UnderWritable()
		must(t, err)
		if !under(a) || !under(b) || under(other) {
			t.Errorf("under a container: %v %v %v", under(a), under(b), under(other))
		}
		if p, err := s.Parent(b); err != nil || p != a {
			t.Errorf("parent %s, %v", p, err)
		}
		if p, err := s.Parent(a); err != nil || p != "" {
			t.Errorf("parent %s, %v", p, err)
		}
		must(t, os.WriteFile(s.Path(id)+"/lower", nil, 0o644)) // as after a power cut
		if under, err = s.UnderWritable(); err != nil || !under(other) {
			t.Errorf("with a damaged container: %v, %v", under(other), err)
		}
	})
}

var someTime = time.Unix(1500000000, 0)
