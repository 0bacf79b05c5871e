package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// helperEnv makes a test binary a process that kills itself at the step of that number.
const helperEnv = "BERTH_TEST_CACHE"

func TestMain(m *testing.M) {
	if n, err := strconv.Atoi(os.Getenv(helperEnv)); err == nil {
		doomed(n)
		return
	}
	os.Exit(m.Run())
}

// doomed makes a layer and a mount, and removes both. It prints the steps it comes by.
func doomed(n int) {
	t := &testing.T{}
	w := &world{TB: outside{t}, root: os.Getenv("BERTH_TEST_ROOT")}
	w.c = Open(w.root)
	i := 0
	w.c.at = func(name string) {
		fmt.Println(name)
		if i++; i == n {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	w.begin()
	a := w.step("a", "", 10)
	w.step("b", a.Layer, 10)
	m, err := w.c.Mount(context.Background(), MountRequest{ID: "m", Sharing: "private", Fill: func(_ context.Context, into *os.File) error {
		return os.WriteFile(into.Name()+"/f", []byte("x"), 0o644)
	}})
	must(w, err)
	must(w, m.Close())
	w.begin()
	w.prune(PruneOptions{All: true})
	must(w, w.lease.Close())
}

// outside is a test's methods in a process that is not one.
type outside struct{ *testing.T }

func (outside) Helper()                  {}
func (outside) Context() context.Context { return context.Background() }
func (outside) Fatal(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}

// What a process leaves when it is killed at any step is no obstacle and is collected.
func TestKilledAtEveryStep(t *testing.T) {
	seen := map[string]bool{}
	for n := 1; ; n++ {
		w := newWorld(t)
		must(t, w.lease.Close())
		w.lease = nil
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), helperEnv+"="+strconv.Itoa(n), "BERTH_TEST_ROOT="+w.root)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != -1) {
			t.Fatal(err)
		}
		for _, name := range lines(out) {
			seen[name] = true
		}
		w.begin()
		a := w.step("a", "", 10) // what was left does not disturb
		if w.get(a) == nil {
			t.Error("a new record is not found")
		}
		w.clean()
		if err == nil {
			break
		}
	}
	for _, name := range []string{"commit layer", "write record", "recorded", "fill mount", "name mount", "remove record", "remove mount", "collect"} {
		if !seen[name] {
			t.Errorf("nobody was killed at %q", name)
		}
	}
}

func lines(b []byte) (all []string) {
	for l := range strings.SplitSeq(string(b), "\n") {
		if l != "" {
			all = append(all, l)
		}
	}
	return all
}
