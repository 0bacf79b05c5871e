package container

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/ident"
)

// victim is set in the process that TestKilled kills.
const victim = "BERTH_TEST_VICTIM"

// TestKilled kills a process with -9 at some moment of creating, changing,
// renaming and removing containers. One GC later everything is whole: each
// container has its one name, and nothing else is left.
func TestKilled(t *testing.T) {
	if root := os.Getenv(victim); root != "" {
		work(t, Open(root, root+"/run"))
	}
	root := t.TempDir()
	s := Open(root, root+"/run")
	keep := create(t, s, "keep")
	for range 25 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), victim+"="+root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*time.Millisecond + time.Duration(rand.IntN(25_000))*time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := s.GC(); err != nil {
			t.Fatalf("GC: %v", err)
		}
		checkWhole(t, s)
	}
	if st, err := s.LoadState(keep.ID); err != nil || st.Name != "keep" {
		t.Errorf("a container nobody touched: %+v, %v", st, err)
	}
}

// work goes on until it is killed.
func work(t *testing.T, s *Store) {
	for i := 0; ; i++ {
		r := record(fmt.Sprintf("name%d", i%3))
		if s.Create(r, atomicfile.Atomic) != nil {
			if id, err := s.Resolve(r.State.Name); err == nil {
				s.Remove(id)
			}
			continue
		}
		s.MakeStateDir(r.ID)
		for code := range 3 {
			if _, err := s.Update(r.ID, func(st *State) error { st.Status, st.ExitCode = Exited, code; return nil }); err != nil {
				t.Error(err)
			}
		}
		s.Rename(r.ID, fmt.Sprintf("other%d", i))
		if i%2 == 0 {
			s.Remove(r.ID)
		}
	}
}

func checkWhole(t *testing.T, s *Store) {
	t.Helper()
	states, err := s.States()
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range states {
		if rec, err := s.Load(st.ID); err != nil || rec.ID != st.ID || st.Status == Dead {
			t.Fatalf("container %+v: %v", st, err)
		}
		if id, err := s.Resolve(st.Name); err != nil || id != st.ID {
			t.Fatalf("the name %s leads to %s, %v; want %s", st.Name, id, err, st.ID)
		}
	}
	count := func(dir string) (n int) {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if dir == s.root && !ident.Valid(e.Name()) {
				continue
			}
			n++
		}
		return n
	}
	if dirs, names, run := count(s.root), count(s.root+"/names"), count(s.state); dirs != len(states) || names != len(states) || run > len(states) {
		t.Fatalf("%d containers, %d directories, %d names, %d run-time directories", len(states), dirs, names, run)
	}
}
