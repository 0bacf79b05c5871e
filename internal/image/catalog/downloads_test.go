package catalog

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/filelock"
)

// TestSweepDownloads removes what is old and not in use.
func TestSweepDownloads(t *testing.T) {
	s := Open(t.TempDir())
	for _, dir := range []string{s.PartialDir(), s.TransferLockDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"old", "young", "used"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("1234"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		old := time.Now().Add(-time.Hour)
		for _, name := range []string{"old", "used"} {
			if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	lock, err := filelock.TryExclusive(filepath.Join(s.TransferLockDir(), "used"))
	if err != nil {
		t.Fatal(err)
	}
	freed, err := s.SweepDownloads(time.Now().Add(-time.Minute))
	if err != nil || freed != 12 {
		t.Errorf("freed %d, %v", freed, err)
	}
	for name, want := range map[string]bool{"partial/old": false, "partial/young": true, "locks/old": false, "locks/young": true, "locks/used": true} {
		if _, err := os.Stat(filepath.Join(s.DistributionDir(), name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}
