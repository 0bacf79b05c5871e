package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/ident"
)

const someParent = "/some parent"

// holds starts a process that holds the lease of a container, and notes it or another.
func holds(t *testing.T, e *Engine, id string, noted int) *exec.Cmd {
	t.Helper()
	l, err := e.acquire(id)
	must(t, err)
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{l.file()}
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if noted == 0 {
		noted = cmd.Process.Pid
	}
	l.cgroupParent = someParent
	l.note(noted)
	must(t, l.pass())
	return cmd
}

func TestLeaseOfTheLiving(t *testing.T) {
	e, id := testEngine(t), ident.New()
	holds(t, e, id, 0)
	if l, err := e.acquire(id); !errors.Is(err, errdefs.Conflict) {
		t.Fatalf("%+v, %v", l, err)
	}
	e.reconcile(t.Context())
	if _, err := os.Stat(filepath.Join(e.leaseDir(), id)); err != nil {
		t.Error(err)
	}
}

// TestLeaseOfTheKilled takes over right after the kill(2), while the kernel may
// not have begun to take the holder apart.
func TestLeaseOfTheKilled(t *testing.T) {
	e := testEngine(t)
	for range 20 {
		id := ident.New()
		cmd := holds(t, e, id, 0)
		must(t, cmd.Process.Kill())
		l, err := e.acquire(id)
		if err != nil {
			t.Fatal(err)
		}
		if !l.left || l.cgroupParent != someParent {
			t.Errorf("%+v", l)
		}
		must(t, l.end())
	}
}

// TestLeaseOfADeadHoldersChild: a child that was made but has not executed its
// program yet has all descriptors of its parent, and may outlive it for a moment.
func TestLeaseOfADeadHoldersChild(t *testing.T) {
	e, id := testEngine(t), ident.New()
	dead := exec.Command("true")
	must(t, dead.Run())
	child := holds(t, e, id, dead.Process.Pid)
	time.AfterFunc(50*time.Millisecond, func() { _ = child.Process.Kill() })
	e.reconcile(t.Context())
	if _, err := os.Stat(filepath.Join(e.leaseDir(), id)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lease was not taken over: %v", err)
	}
}

func TestNote(t *testing.T) {
	for text, want := range map[string]struct {
		pid    int
		parent string
		ok     bool
	}{
		"":                      {0, "", false},
		"\n":                    {0, "", true},
		"12 \n":                 {12, "", true},
		"12 /a b\n":             {12, "/a b", true},
		"7 \nlong/before\n":     {7, "", true},
		"x.slice\n":             {0, "", true},
		"99999999999999999999 ": {0, "", true},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "note"))
		must(t, err)
		_, err = f.WriteString(text)
		must(t, err)
		pid, parent, ok := readNote(int(f.Fd()))
		if pid != want.pid || parent != want.parent || ok != want.ok {
			t.Errorf("%q: %d, %q, %v", text, pid, parent, ok)
		}
		f.Close()
	}
}
