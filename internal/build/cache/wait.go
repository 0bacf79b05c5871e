package cache

import (
	"context"
	"errors"
	"os"

	"berth/internal/errdefs"
	"berth/internal/filelock"
)

// wait takes a lock, or gives up when ctx ends. flock(2) itself cannot be told
// to give up: its thread then waits on, and lets go of the lock once it has it.
func (c *Cache) wait(ctx context.Context, how func(string) (*filelock.Lock, error), path string) (*filelock.Lock, error) {
	type result struct {
		lock *filelock.Lock
		err  error
	}
	done := make(chan result, 1)
	go func() {
		l, err := how(path)
		if errors.Is(err, os.ErrNotExist) {
			if err = c.makeDirs(); err == nil {
				l, err = how(path)
			}
		}
		done <- result{l, err}
	}()
	select {
	case r := <-done:
		return r.lock, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.lock.Unlock()
			}
		}()
		return nil, &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
	}
}
