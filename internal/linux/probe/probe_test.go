package probe

import (
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Asking must leave no trace: no descriptor, no child, no mount.
func TestFeatures(t *testing.T) {
	before := state(t)
	var k Kernel
	list := k.Features()
	if after := state(t); after != before {
		t.Errorf("asking left something behind:\n%s\nnow\n%s", before, after)
	}
	seen := map[string]bool{}
	for _, f := range list {
		t.Logf("%-30s %-7s %s", f.Name, f.Since, f)
		if f.Name == "" || f.Instead == "" || f.Since == "" || seen[f.Name] {
			t.Errorf("incomplete or double: %+v", f)
		}
		seen[f.Name] = true
	}
	for i, f := range k.Features() {
		if f != list[i] {
			t.Errorf("another answer the second time: %v, %v", f, list[i])
		}
	}
}

func state(t *testing.T) string {
	t.Helper()
	var s strings.Builder
	for _, path := range []string{"/proc/self/fd", "/proc/thread-self/children", "/proc/self/mountinfo"} {
		if path == "/proc/self/fd" {
			entries, err := os.ReadDir(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				s.WriteString(e.Name() + " ")
			}
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil && path != "/proc/thread-self/children" { // a kernel option
			t.Fatal(err)
		}
		s.Write(b)
	}
	return s.String()
}

// The answers must agree with what really works.
func TestAgainstUse(t *testing.T) {
	var k Kernel
	root := os.Geteuid() == 0
	use := func(name string, said bool, err error) {
		if works := err == nil; said != works {
			t.Errorf("%s: said %v, using it: %v", name, said, err)
		}
	}
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	use("pidfd", k.Pidfd(), err)
	unix.Close(fd)
	fd, err = unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH, Resolve: unix.RESOLVE_NO_SYMLINKS})
	use("openat2", k.Openat2(), err)
	unix.Close(fd)
	use("close_range", k.CloseRange(), unix.CloseRange(1<<20, 1<<20, 0))
	if !root {
		t.Skip("the rest needs root")
	}
	fd, err = unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	use("mount API", k.MountAPI(), err)
	unix.Close(fd)
	fd, err = unix.OpenTree(unix.AT_FDCWD, "/proc", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	use("open_tree", k.OpenTree(), err)
	if err == nil {
		use("mount_setattr", k.MountSetattr(), unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}))
		unix.Close(fd)
	}
}

func TestKnows(t *testing.T) {
	for _, c := range []struct {
		err        error
		privileged bool
		want       bool
	}{{nil, true, true}, {unix.EINVAL, true, true}, {unix.EFAULT, false, true}, {unix.ENOSYS, false, false}, {unix.EPERM, true, false}, {unix.EPERM, false, true}} {
		if got := knows(c.err, c.privileged); got != c.want {
			t.Errorf("%v %v: %v", c.err, c.privileged, got)
		}
	}
}

func TestAtLeast(t *testing.T) {
	if !atLeast(4, 0) || !atLeast(5, 10) || atLeast(99, 0) {
		t.Errorf("kernel %s", Release())
	}
}

func TestConcurrent(t *testing.T) {
	var k Kernel
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { k.Features() })
	}
	wg.Wait()
}

func BenchmarkFeatures(b *testing.B) {
	for b.Loop() {
		var k Kernel
		k.Features()
	}
}
