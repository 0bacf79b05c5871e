package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillMonitorAtSystemCalls kills monitors as they enter system calls that
// they make, and the command that starts them does not make: before the
// container, during it, after its end.
func TestKillMonitorAtSystemCalls(t *testing.T) {
	l := newLab(t)
	died := 0
	for _, call := range []string{"umask:1", "listen:1", "listen:2", "clone3:1", "epoll_wait:1", "epoll_pwait:2", "wait4:1", "accept4:1", "rmdir:1", "umount2:1"} {
		for _, flag := range []string{"--rm", "--label=keep"} {
			name, n, _ := strings.Cut(call, ":")
			cmd := l.command()
			cmd.Args = append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + name, "-e", "inject=" + name + ":signal=KILL:when=" + n, binary, "run"}, short(flag)...)
			cmd.Path, cmd.Err = lookUp(t, "strace"), nil
			if r := l.run(cmd); r.code != 0 {
				died++
			}
			l.worksOn(fmt.Sprintf("run %s: monitor killed at %s", flag, call))
		}
	}
	if died < 6 {
		t.Errorf("only %d monitors were killed: this test does not test what it should", died)
	}
}

// TestKillMonitorAtAnyTime kills the monitor of a short run after a random time.
func TestKillMonitorAtAnyTime(t *testing.T) {
	l := newLab(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 20 {
		flag := []string{"--rm", "--label=keep"}[i%2]
		cmd := l.command(append([]string{"run"}, short(flag)...)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		delay := time.Duration(random.Int64N(int64(60 * time.Millisecond)))
		time.Sleep(delay)
		for _, pid := range children(cmd.Process.Pid) {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
		case <-time.After(limit):
			cmd.Process.Kill() //nolint:errcheck // it may have ended
			t.Fatalf("run %s hangs when its monitor is killed after %s (seed %d)", flag, delay, seed)
		}
		l.worksOn(fmt.Sprintf("run %s: monitor killed after %s (seed %d)", flag, delay, seed))
	}
}

// children returns the processes that a process has started: of a command, the monitor.
func children(pid int) (pids []int) {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, f := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// monitorOf returns the pid of a container's monitor.
func (l *lab) monitorOf(name string) int {
	l.t.Helper()
	status, err := os.ReadFile("/proc/" + l.inspect(name, "{{.State.Pid}}") + "/status")
	if err != nil {
		l.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "PPid:")
	pid, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		l.t.Fatal(err)
	}
	if cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); !strings.HasPrefix(string(cmdline), "berth-monitor") {
		l.t.Fatalf("the parent of PID 1 is %q", cmdline)
	}
	return pid
}

func (l *lab) killMonitor(name string) {
	l.t.Helper()
	pid := l.monitorOf(name)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		l.t.Fatal(err)
	}
}

// TestContainerOutlivesMonitor: the container goes on, and every command works on it.
func TestContainerOutlivesMonitor(t *testing.T) {
	l := newLab(t)
	l.must(append([]string{"run", "-d"}, program(nil, "/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.01; done")...)...)
	l.killMonitor("x1")
	if got := l.must("ps", "--format", "{{.Names}} {{.State}}"); got != "x1 running" {
		t.Errorf("ps: %q", got)
	}
	for range 2 {
		if got := l.must("exec", "x1", "/bin/echo", "inside"); got != "inside" {
			t.Errorf("exec: %q", got)
		}
	}
	if r := l.berth("exec", "x1", "/bin/sh", "-c", "exit 7"); r.code != 7 {
		t.Errorf("exec: exit code %d", r.code)
	}
	if r := l.berth("exec", "x1", "/bin/nothing"); r.code != 127 {
		t.Errorf("exec of a missing program: exit code %d: %s", r.code, r.err)
	}
	if r := l.berth("stop", "-t", "100", "x1"); r.code != 0 || r.took > 10*time.Second {
		t.Errorf("stop: %+v", r)
	}
	if got := l.inspect("x1", "{{.State.Status}} {{.State.ExitCode}}"); got != "exited 137" { // nobody could learn the real code
		t.Errorf("after stop: %s", got)
	}
	l.must("start", "x1") // and it can be started again, with a monitor
	l.killMonitor("x1")
	l.must("rm", "-f", "x1")
	l.settled()
}

// TestEndIsNoticedLater: nobody is there when the container ends.
func TestEndIsNoticedLater(t *testing.T) {
	for _, keep := range []bool{true, false} {
		l := newLab(t)
		flags := []string{"-d"}
		if !keep {
			flags = append(flags, "--rm")
		}
		l.must(append([]string{"run"}, append(flags, program(nil, "/bin/sh", "-c", "while [ ! -e /bin/end ]; do sleep 0.01; done")...)...)...)
		l.killMonitor("x1")
		if err := os.WriteFile(rootfs+"/bin/end", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		want := ""
		if keep {
			want = "x1 exited"
		}
		l.eventually("the end is noticed", func() bool { return l.must("ps", "-a", "--format", "{{.Names}} {{.State}}") == want })
		if err := os.Remove(rootfs + "/bin/end"); err != nil {
			t.Fatal(err)
		}
		if keep {
			if got := l.inspect("x1", "{{.State.ExitCode}} {{.State.Pid}} {{ne .State.Error \"\"}}"); got != "137 0 true" {
				t.Errorf("what is recorded: %s", got)
			}
			l.must("rm", "x1")
		}
		l.settled()
	}
}
