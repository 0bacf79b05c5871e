package cache

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/oci"
)

// keepMemo is how long a digest that nobody asks for is remembered.
const keepMemo = 30 * 24 * time.Hour

func (c *Cache) memoDir() string { return c.dir + "/digests" }

// Recall returns the digest that was remembered under a key, "" if none was.
// What is remembered must follow from the key for ever: the digest of files of a
// layer does, for layers never change.
func (c *Cache) Recall(key oci.Digest) (oci.Digest, error) {
	path := c.memoDir() + "/" + key.Hex()
	b, err := atomicfile.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	d, err := oci.ParseDigest(string(b))
	if err != nil {
		return "", nil //nolint:nilerr // half written before a power cut: it is not known
	}
	_ = unix.UtimesNanoAt(unix.AT_FDCWD, path, nil, 0) // that it was asked for; it may be gone by now
	return d, nil
}

// Remember keeps a digest under a key.
func (c *Cache) Remember(key, digest oci.Digest) error {
	path := c.memoDir() + "/" + key.Hex()
	err := atomicfile.Write(path, []byte(digest), 0o600, atomicfile.Atomic)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(c.memoDir(), 0o700); err != nil {
			return err
		}
		err = atomicfile.Write(path, []byte(digest), 0o600, atomicfile.Atomic)
	}
	return err
}

// sweepMemos forgets what nobody has asked for since old, and what killed
// writers left.
func (c *Cache) sweepMemos(old time.Time) error {
	entries, err := os.ReadDir(c.memoDir())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // gone
		}
		// A writer is at its file for milliseconds.
		left := atomicfile.IsTemp(e.Name()) && time.Since(info.ModTime()) > time.Minute
		if !left && !info.ModTime().Before(old) {
			continue
		}
		if err := os.Remove(c.memoDir() + "/" + e.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
