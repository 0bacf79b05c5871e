package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestExclusiveExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l, err := Exclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryExclusive(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if l, err = TryExclusive(path); err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

func TestWaiterSeesReplacedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Exclusive(path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Lock)
	go func() {
		l, err := Exclusive(path)
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	os.Remove(path)
	first.Unlock()
	second := <-got
	if _, err := TryExclusive(path); !errors.Is(err, ErrLocked) {
		t.Errorf("the waiter holds a dead file's lock: %v", err)
	}
	second.Unlock()
}
