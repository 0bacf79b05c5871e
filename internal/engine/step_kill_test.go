package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/storage/snapshot"
)

// stepActors are what the test binary can play besides the tests, by its first argument.
var stepActors = map[string]func(args []string) int{
	// talk prints what a unix socket says.
	"talk": func(args []string) int {
		c, err := net.Dial("unix", args[0])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer c.Close()
		_, err = io.Copy(os.Stdout, c)
		return exitOf(err)
	},
	// exe says whether its own executable is on a read-only mount.
	"exe": func([]string) int {
		var st unix.Statfs_t
		err := unix.Statfs("/proc/self/exe", &st)
		fmt.Println("read-only:", err == nil && st.Flags&unix.ST_RDONLY != 0)
		return exitOf(err)
	},
	// build runs a step that does not end by itself: args are the roots and the layer.
	"build": func(args []string) int {
		e, err := Open(context.Background(), Options{DataRoot: args[0], StateRoot: args[1]})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		d, err := e.snapshots.Begin(args[2])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		r := StepRequest{Args: []string{"sh", "-c", "echo begun; sleep 4321 & sleep 4321"}, NetworkMode: "default", Stdout: os.Stdout, Stderr: os.Stdout,
			Mounts: []StepMount{{Target: "/run/secrets/key", Data: []byte("secret")}}}
		r.complete()
		if r.Root, err = d.Mount(context.Background(), snapshot.MountPoint{Path: "/run/secrets/key", File: true}); err == nil {
			_, err = e.Containers.RunStep(context.Background(), r)
		}
		fmt.Println(err)
		return 1
	},
}

// sleepers returns the pids of programs that the step of a builder left running.
func sleepers(t testing.TB) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(text, []byte("sleep\x004321")) {
			continue
		}
		groups, _ := os.ReadFile(filepath.Dir(f) + "/cgroup")
		if bytes.Contains(groups, []byte(stepGroups)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			must(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// within waits for something to become true.
func within(t testing.TB, limit time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// A builder that is killed takes its steps with it, and the next command takes
// down what they had.
func testBuilderKilled(b *stepBed) {
	for _, nurseryToo := range []bool{false, true} {
		cmd := exec.Command("/proc/self/exe", "build", b.dir+"/data", b.dir+"/state", b.base)
		out, err := cmd.StdoutPipe()
		must(b, err)
		must(b, cmd.Start())
		var said [6]byte
		if _, err := io.ReadFull(out, said[:]); err != nil || string(said[:]) != "begun\n" {
			rest, _ := io.ReadAll(out)
			b.Fatalf("the builder said %q%s, %v", said, rest, err)
		}
		within(b, 5*time.Second, "the step runs", func() bool { return len(sleepers(b)) == 2 })
		nursery := nurseryOf(b, cmd.Process.Pid)
		if nurseryToo { // nobody is left to kill the step but the next command
			stop(b, nursery)
		}
		must(b, cmd.Process.Kill())
		_ = cmd.Wait()
		if nurseryToo {
			must(b, unix.Kill(nursery, unix.SIGKILL))
			if len(sleepers(b)) != 2 {
				b.Error("the step ended by itself: nothing was tested")
			}
		} else {
			within(b, 5*time.Second, "the step dies with its builder", func() bool { return len(sleepers(b)) == 0 })
		}
		left, err := filepath.Glob(b.dir + "/state/active/*")
		must(b, err)
		if len(left) != 1 {
			b.Fatalf("leases %v", left)
		}
		e := b.open() // the next command
		if _, err := e.Containers.List(b.Context(), ListOptions{All: true}); err != nil {
			b.Error(err)
		}
		for _, glob := range []string{"/state/steps/*", "/state/active/*", "/state/network/endpoints/*"} {
			if left, _ := filepath.Glob(b.dir + glob); len(left) > 0 {
				b.Errorf("left behind: %v", left)
			}
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/*" + stepGroups + "/*/tasks"); len(left) > 0 {
			b.Errorf("left behind: %v", left)
		}
		must(b, e.snapshots.GC(func(string) bool { return true })) // takes the draft
		_, err = e.snapshots.Reclaim(b.Context())
		must(b, err)
		within(b, 5*time.Second, "all are dead", func() bool {
			_, err := os.Readlink("/proc/" + strconv.Itoa(nursery) + "/exe") // one that nobody has reaped yet has none
			return len(sleepers(b)) == 0 && err != nil
		})
	}
}

// stop stops a process with all its threads, which do not stop at once.
func stop(t testing.TB, pid int) {
	t.Helper()
	must(t, unix.Kill(pid, unix.SIGSTOP))
	within(t, 5*time.Second, "all threads have stopped", func() bool {
		files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
		must(t, err)
		for _, f := range files {
			if text, err := os.ReadFile(f); err == nil && !strings.HasPrefix(status(string(text), "State"), "T") {
				return false
			}
		}
		return true
	})
}

// nurseryOf returns the nursery of a builder.
func nurseryOf(t testing.TB, builder int) int {
	t.Helper()
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(builder), "-f", nurseryRole).Output()
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	must(t, err)
	return pid
}

// A nursery that is killed ends its steps with an error, and the next step has a new one.
func testNurseryKilled(b *stepBed) {
	b.sh("true", StepRequest{})
	r := StepRequest{Args: []string{"sh", "-c", "echo begun; sleep 4321"}}
	r.Stdout = writerFunc(func(p []byte) (int, error) { return len(p), syscall.Kill(b.e.nursery.pid, syscall.SIGKILL) })
	r.complete()
	b.draft(b.base, &r)
	if res, err := b.e.Containers.RunStep(b.Context(), r); err == nil {
		b.Errorf("got %+v", res)
	}
	if left := sleepers(b); len(left) > 0 {
		b.Errorf("left running: %v", left)
	}
	if _, res, _ := b.sh("exit 5", StepRequest{}); res.ExitCode != 5 {
		b.Errorf("the next step: %+v", res)
	}
}
