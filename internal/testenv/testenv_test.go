package testenv

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInNamespace(t *testing.T) {
	namespace := func() string {
		name, err := os.Readlink("/proc/thread-self/ns/mnt")
		if err != nil {
			t.Error(err)
		}
		return name
	}
	dir := t.TempDir()
	outside, ran := namespace(), false
	InNamespace(t, unix.CLONE_NEWNS, func() {
		ran = true
		if namespace() == outside {
			t.Error("it is the machine's mount namespace")
		}
		if err := unix.Mount("test", dir, "tmpfs", 0, ""); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(dir+"/inside", nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(dir + "/inside"); !ran || err == nil {
		t.Errorf("ran %v; what was mounted inside is seen outside: %v", ran, err == nil)
	}
}
