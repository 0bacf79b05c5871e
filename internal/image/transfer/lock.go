package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"berth/internal/filelock"
	"berth/internal/oci"
)

// lockPoll is how often a held lock is tried again. flock(2) can wait by itself,
// but not be told to stop waiting.
const lockPoll = 50 * time.Millisecond

// transferLock is the right to bring one image or one layer in.
type transferLock struct {
	path string
	lock *filelock.Lock
}

// lock waits for the right to bring in what d stands for: a layer's chain id,
// or the key of an image. If it has to wait, it calls waiting, once. Images are
// locked before layers and layers from the base up, so nobody waits in a circle.
func (s *Store) lock(ctx context.Context, d oci.Digest, waiting func()) (*transferLock, error) {
	path := filepath.Join(s.images.TransferLockDir(), d.Hex())
	for {
		l, err := filelock.TryExclusive(path)
		switch {
		case err == nil:
			return &transferLock{path, l}, nil
		case errors.Is(err, os.ErrNotExist):
			if err := os.MkdirAll(s.images.TransferLockDir(), 0o700); err != nil {
				return nil, err
			}
			continue
		case !errors.Is(err, filelock.ErrLocked):
			return nil, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// release gives the lock up. The file is removed first, under the lock: who
// waits for it notices that, and makes it again.
func (l *transferLock) release() error {
	err := os.Remove(l.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.lock.Unlock())
}
