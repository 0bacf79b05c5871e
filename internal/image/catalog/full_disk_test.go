package catalog

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// On a full disk an image can be removed, for that is how space is made.
func TestRemoveOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	dir := t.TempDir()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread has a mount namespace of its own
		for _, err := range []error{
			unix.Unshare(unix.CLONE_NEWNS),
			unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
			unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,nr_inodes=500"),
		} {
			if err != nil {
				t.Error(err)
				return
			}
		}
		removeOnFullDisk(t, Open(dir+"/data"), dir)
	}()
	<-done
}

func removeOnFullDisk(t *testing.T, s *Store, dir string) {
	l, err := s.Lease()
	if err != nil {
		t.Error(err)
		return
	}
	if err := addLayers(s, l, "a"); err != nil {
		t.Error(err)
		return
	}
	img, err := l.Put(t.Context(), config("", "a"), "")
	if err != nil {
		t.Error(err)
		return
	}
	_, err = s.Tag(name(t, "app"), img.ID)
	if err = errors.Join(err, l.Close()); err != nil {
		t.Error(err)
		return
	}
	fill, err := os.Create(dir + "/fill")
	if err != nil {
		t.Error(err)
		return
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = fill.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("the disk is not full: %v", err)
	}
	for i := 0; ; i++ { // nor is there an inode left
		if f, err := os.Create(dir + "/fill" + string(rune('0'+i))); err != nil {
			break
		} else {
			f.Close()
		}
	}
	if err := os.WriteFile(dir+"/data/x", block, 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing on the full disk: %v", err)
	}
	gone, err := remove(s, img.ID, noContainers)
	if err != nil || len(gone) != 1 {
		t.Errorf("remove on a full disk: %v, %v", gone, err)
	}
	if _, err := s.layers.Reclaim(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Lookup("app"); err == nil {
		t.Error("the name is there")
	}
}
