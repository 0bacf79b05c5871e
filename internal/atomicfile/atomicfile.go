// Package atomicfile provides whole-file writes that a reader or a crash never
// sees half done: write a temporary file in the same directory, optionally sync
// it, rename it over the target, optionally sync the directory.
//
// Rename alone is atomic for other processes. Surviving a power cut needs the
// two syncs as well, each of which may cost milliseconds on a real disk, so
// every caller says whether it needs Durable.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// Durability says what a write survives.
type Durability bool

const (
	// Atomic survives the death of any process, not the loss of power.
	Atomic Durability = false
	// Durable survives the loss of power once Write has returned: the file and its directory are synced.
	Durable Durability = true
)

var serial atomic.Uint64

// Write replaces path with data, with exactly the permissions perm whatever the umask.
func Write(path string, data []byte, perm fs.FileMode, d Durability) error {
	tmp := tempName(path)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil && d == Durable {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if d == Durable {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// IsTemp reports whether name is a temporary file that a killed Write may have left.
func IsTemp(name string) bool {
	return len(name) > 5 && name[0] == '.' && filepath.Ext(name) == ".tmp"
}

// SyncDir syncs a directory, so that the names made or removed in it survive the loss of power.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// tempName is ".<base>.<pid>-<n>.tmp" beside path; pid and counter make it
// unique among live processes, and O_EXCL catches the rest.
func tempName(path string) string {
	dir, base := filepath.Split(path)
	return dir + "." + base + "." + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(serial.Add(1), 10) + ".tmp"
}
