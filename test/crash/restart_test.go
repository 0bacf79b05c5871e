package crash

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func (l *lab) restarts(name string) int {
	l.t.Helper()
	n, err := strconv.Atoi(l.inspect(name, "{{.RestartCount}}"))
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// runsOf counts how often a container was started, from what it printed.
func (l *lab) runsOf(name string) int {
	return strings.Count(l.must("logs", name), "run")
}

func TestOnFailure(t *testing.T) {
	l := newLab(t)
	l.must(sh([]string{"-d", "--name", "c1", "--restart", "on-failure:3"}, "echo run; exit 5")...)
	l.eventually("it gives up", func() bool { return l.inspect("c1", "{{.State.Status}}") == "exited" })
	l.left()
	if n, runs := l.restarts("c1"), l.runsOf("c1"); n != 3 || runs != 4 {
		t.Errorf("%d restarts, %d runs", n, runs)
	}
	if got := l.inspect("c1", "{{.State.ExitCode}}"); got != "5" {
		t.Errorf("exit code %s", got)
	}
	l.must(sh([]string{"-d", "--name", "c2", "--restart", "on-failure:3"}, "echo run; exit 0")...)
	l.eventually("it ends", func() bool { return l.inspect("c2", "{{.State.Status}}") == "exited" })
	if n := l.restarts("c2"); n != 0 {
		t.Errorf("%d restarts after a success", n)
	}
}

func TestAlways(t *testing.T) {
	for _, policy := range []string{"always", "unless-stopped"} {
		t.Run(policy, func(t *testing.T) { testAlways(newLab(t), policy) })
	}
}

func testAlways(l *lab, policy string) {
	l.must("run", "-d", "--name", "c1", "--restart", policy, "--rootfs", rootfs, "sleep", "1000")
	state := func() string { return l.inspect("c1", "{{.State.Status}} {{.RestartCount}} {{.State.Error}}") }
	for i := 1; i <= 2; i++ {
		pid, _ := strconv.Atoi(l.inspect("c1", "{{.State.Pid}}"))
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			l.t.Fatal(err, state())
		}
		want := "running " + strconv.Itoa(i) + " "
		l.eventually("the state is "+want, func() bool { return state() == want })
	}
	l.must("stop", "c1")
	l.left()
	if got := l.inspect("c1", "{{.State.Status}}"); got != "exited" {
		l.t.Errorf("after stop: %s", got)
	}
	l.must("start", "c1")
	if n := l.restarts("c1"); n != 0 {
		l.t.Errorf("a start by hand counts as %d restarts", n)
	}
}

// left waits until nobody works on a container: none is brought back from here on.
func (l *lab) left() {
	l.t.Helper()
	l.eventually("its monitor has ended", func() bool {
		active, _ := os.ReadDir(l.state + "/active")
		return len(active) == 0
	})
}

// backOff starts a container that fails at once and waits until its policy has
// brought it back that often, and makes a pause of 100 ms * 2^restarts.
func (l *lab) backOff(restarts int) {
	l.t.Helper()
	l.must(sh([]string{"-d", "--name", "c1", "--restart", "always"}, "echo run; exit 1")...)
	want := "restarting " + strconv.Itoa(restarts)
	l.eventually("a long pause", func() bool { return l.inspect("c1", "{{.State.Status}} {{.RestartCount}}") == want })
}

// TestEndOfBackOff: what ends the policy does not wait for the pause to end.
func TestEndOfBackOff(t *testing.T) {
	const soon = 2500 * time.Millisecond // the pause is 3.2 s
	l := newLab(t)
	l.backOff(5)
	if r := l.berth("rm", "-f", "c1"); r.code != 0 || r.took > soon {
		t.Errorf("rm -f: %+v", r)
	}
	l.settled()
	l.backOff(5)
	if r := l.berth("rm", "c1"); r.code != 1 || !strings.Contains(r.err, "is restarting") {
		t.Errorf("rm without -f: %+v", r)
	}
	if r := l.berth("stop", "c1"); r.code != 0 || r.took > soon {
		t.Errorf("stop: %+v", r)
	}
	if got := l.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}"); got != "exited 1" {
		t.Errorf("after stop: %s", got)
	}
	runs := l.runsOf("c1")
	if r := l.berth("start", "c1"); r.code != 0 || r.took > soon {
		t.Errorf("start after stop: %+v", r)
	}
	l.eventually("it runs again", func() bool { return l.runsOf("c1") > runs })
}

// TestMonitorKilledInBackOff: the policy dies with the monitor; nothing else does.
func TestMonitorKilledInBackOff(t *testing.T) {
	l := newLab(t)
	l.backOff(3)
	ids := l.everMade()
	killed := false
	for _, p := range processes(ids) {
		pid, _ := strconv.Atoi(strings.Fields(p)[1])
		killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
	}
	if !killed {
		t.Fatal("no monitor to kill")
	}
	if got := l.must("ps", "-a", "--filter", "name=c1", "--format", "{{.State}}"); got != "exited" {
		t.Errorf("ps: %s", got)
	}
	if got := l.inspect("c1", "{{.State.ExitCode}}"); got != "1" {
		t.Errorf("exit code %s", got)
	}
	runs := l.runsOf("c1")
	l.must("start", "c1")
	l.eventually("it runs again", func() bool { return l.runsOf("c1") > runs })
	l.must("rm", "-f", "c1")
	l.settled()
}
