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

// chainLock is the right to make one layer.
type chainLock struct {
	path string
	lock *filelock.Lock
}

// lockChain waits for the right to make the layer of a chain id.
func (s *Store) lockChain(ctx context.Context, chain oci.Digest) (*chainLock, error) {
	path := filepath.Join(s.images.TransferLockDir(), chain.Hex())
	for {
		l, err := filelock.TryExclusive(path)
		switch {
		case err == nil:
			return &chainLock{path, l}, nil
		case errors.Is(err, os.ErrNotExist):
			if err := os.MkdirAll(s.images.TransferLockDir(), 0o700); err != nil {
				return nil, err
			}
			continue
		case !errors.Is(err, filelock.ErrLocked):
			return nil, err
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
func (l *chainLock) release() error {
	err := os.Remove(l.path)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.lock.Unlock())
}
