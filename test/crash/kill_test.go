package crash

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// long and short are what the containers of these tests run, on a root
// filesystem of their own (an overlay) and on the default network.
func long(flags ...string) []string  { return program(flags, "/bin/sleep", "1000") }
func short(flags ...string) []string { return program(flags, "/bin/sleep", "0.03") }

func program(flags []string, argv ...string) []string {
	args := append(append([]string{}, flags...), "-v", rootfs+"/bin:/bin", "-p", "18080:80", "--name", "x1", "--entrypoint", argv[0], "hello")
	return append(args, argv[1:]...)
}

// victim is a command that is killed: what has to be there before, and the command.
type victim struct {
	name   string
	before [][]string
	args   []string
}

func victims() []victim {
	return []victim{
		{"run", nil, append([]string{"run"}, short("--rm")...)},
		{"run -d", nil, append([]string{"run", "-d"}, long()...)},
		{"run --cgroup-parent", nil, append([]string{"run", "-d", "--rm", "--cgroup-parent", cgroupParent}, long()...)},
		{"create", nil, append([]string{"create"}, long()...)},
		{"start", [][]string{append([]string{"create"}, long()...)}, []string{"start", "x1"}},
		{"stop", [][]string{append([]string{"run", "-d"}, long()...)}, []string{"stop", "x1"}},
		{"rm -f", [][]string{append([]string{"run", "-d"}, long()...)}, []string{"rm", "-f", "x1"}},
		{"rm", [][]string{append([]string{"create"}, long()...)}, []string{"rm", "x1"}},
		{"exec", [][]string{append([]string{"run", "-d"}, long()...)}, []string{"exec", "x1", "/bin/true"}},
	}
}

// TestKillAtSystemCalls kills commands as they enter a system call: strace(1)
// delivers the signal. With -b execve it leaves the monitor alone.
func TestKillAtSystemCalls(t *testing.T) {
	l := newLab(t)
	calls := map[string][]string{
		"run -d":              {"mkdirat:1", "mkdirat:3", "mkdirat:5", "linkat:1", "symlinkat:1", "renameat:1", "move_mount:1", "sendmsg:1", "sendmsg:2", "unshare:1", "setns:1", "recvfrom:3", "flock:3", "fsync:1", "socketpair:1", "pipe2:1"},
		"run --cgroup-parent": {"sendmsg:1", "move_mount:1"},
		"run":                 {"move_mount:1"},
		"create":              {"linkat:1", "symlinkat:1", "mkdirat:2", "renameat:1", "renameat2:1", "unlinkat:1"},
		"start":               {"move_mount:1", "sendmsg:1", "unshare:1"},
		"stop":                {"renameat2:1", "pidfd_send_signal:1"},
		"rm -f":               {"renameat2:1", "pidfd_send_signal:1", "unlinkat:1", "unlinkat:2", "renameat:1", "umount2:1"},
		"rm":                  {"unlinkat:1", "unlinkat:2", "unlinkat:4", "unlinkat:7", "renameat:1", "umount2:1"},
		"exec":                {"sendmsg:1", "connect:1"},
	}
	died := 0
	for _, k := range victims() {
		for _, call := range calls[k.name] {
			name, n, _ := strings.Cut(call, ":")
			l.prepared(k.before)
			cmd := l.command(k.args...)
			cmd.Args = append([]string{"strace", "-f", "-qq", "-b", "execve", "-o", "/dev/null", "-e", "trace=" + name, "-e", "inject=" + name + ":signal=KILL:when=" + n, binary}, k.args...)
			cmd.Path, cmd.Err = lookUp(t, "strace"), nil
			if r := l.run(cmd); r.code != 0 {
				died++
			}
			l.worksOn(fmt.Sprintf("%s killed at %s", k.name, call))
		}
	}
	if died < 20 {
		t.Errorf("only %d commands were killed: this test does not test what it should", died)
	}
}

func lookUp(t *testing.T, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("install %s: %v", name, err)
	}
	return path
}

// TestKillAtAnyTime kills commands after a random time, of up to what they take.
func TestKillAtAnyTime(t *testing.T) {
	l := newLab(t)
	const rounds = 6
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for _, k := range victims() {
		for range rounds {
			l.prepared(k.before)
			delay := time.Duration(random.Int64N(int64(30 * time.Millisecond)))
			cmd := l.command(k.args...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(delay)
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			cmd.Wait()         //nolint:errcheck // it was killed
			l.worksOn(fmt.Sprintf("%s killed after %s (seed %d)", k.name, delay, seed))
		}
	}
}

func (l *lab) prepared(before [][]string) {
	l.t.Helper()
	for _, args := range before {
		l.must(args...)
	}
}

// worksOn demands that the ordinary commands work after a death, and leave nothing.
func (l *lab) worksOn(when string) {
	l.t.Helper()
	defer func() {
		if l.t.Failed() {
			l.t.Fatal(when)
		}
	}()
	l.must("ps", "-a")
	l.berth("rm", "-f", "x1") // there may be none
	if got := l.must(append([]string{"run"}, program([]string{"--rm"}, "/bin/echo", "well")...)...); got != "well" {
		l.t.Errorf("run prints %q", got)
	}
	l.settled()
}
