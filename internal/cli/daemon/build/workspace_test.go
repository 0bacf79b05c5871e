package build

import (
	"os"
	"path/filepath"
	"testing"

	"berth/internal/filelock"
)

func TestWorkspace(t *testing.T) {
	root := t.TempDir()
	a, err := newWorkspace(root)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// What a killed build left: a directory whose lock nobody holds.
	dead := filepath.Join(root, "build/tmp/dead")
	if err := os.MkdirAll(dead+"/deep", 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := filelock.Exclusive(dead + lockSuffix)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
	b, err := newWorkspace(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dead); !os.IsNotExist(err) {
		t.Errorf("what a dead build left: %v", err)
	}
	if _, err := os.Lstat(a.dir + "/file"); err != nil {
		t.Errorf("a live build lost its directory: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(root + "/build/tmp"); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
