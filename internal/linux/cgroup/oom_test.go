package cgroup

import (
	"os"
	"testing"
)

// TestOOMWatch plays the kernel, which counts, and systemd, which removes.
func TestOOMWatch(t *testing.T) {
	path := t.TempDir() + "/memory.events"
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("low 0\noom 0\noom_kill 0\n")
	w, err := watchOOM(path, func() (int64, error) {
		b, err := read(path, nil)
		return int64(find(b, "oom_kill")), err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := w.Kills(); n != 0 {
		t.Errorf("%d at first", n)
	}
	write("low 0\noom 3\noom_kill 2\n")
	until(t, "the count is seen", func() bool { return w.seen.Load() == 2 })
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if n := w.Kills(); n != 2 {
		t.Errorf("%d when the group is gone", n)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := watchOOM(path, nil); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}

// TestOOMWatchLooksOnceMore: what happened just before the end is read at the end.
func TestOOMWatchLooksOnceMore(t *testing.T) {
	path := t.TempDir() + "/memory.events"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := watchOOM(path, func() (int64, error) { return 5, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if n := w.Kills(); n != 5 {
		t.Errorf("%d", n)
	}
}
