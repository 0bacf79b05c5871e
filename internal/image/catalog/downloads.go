package catalog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"berth/internal/filelock"
)

// PartialDir returns the directory of downloads that are not complete, each
// named by its blob's digest and locked by the process that is at it.
func (s *Store) PartialDir() string { return filepath.Join(s.DistributionDir(), "partial") }

// TransferLockDir returns the directory of the locks that keep two pulls from
// making the same layer.
func (s *Store) TransferLockDir() string { return filepath.Join(s.DistributionDir(), "locks") }

// SweepDownloads removes what killed transfers left: downloads and locks that no
// process is at and that were last touched before the given time. It returns
// the bytes freed. It needs no right to remove: a live transfer holds its files' locks.
func (s *Store) SweepDownloads(before time.Time) (freed int64, err error) {
	var errs []error
	for _, dir := range []string{s.PartialDir(), s.TransferLockDir()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !info.Mode().IsRegular() || !info.ModTime().Before(before) {
				continue // gone, or not ours, or too young
			}
			path := filepath.Join(dir, e.Name())
			lock, err := filelock.TryExclusive(path)
			if errors.Is(err, filelock.ErrLocked) {
				continue
			}
			if err == nil {
				freed += held(info)
				err = errors.Join(os.Remove(path), lock.Unlock())
			}
			errs = append(errs, err)
		}
	}
	return freed, errors.Join(errs...)
}

// held returns the bytes that a file takes on the disk. A download in ranges has
// holes where its ranges are not complete.
func held(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return min(info.Size(), st.Blocks*512)
	}
	return info.Size()
}
