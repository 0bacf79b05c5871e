package crash

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestForkBomb: a shell would end when it is refused a process for the first
// time. awk goes on.
func TestForkBomb(t *testing.T) {
	l := newLab(t)
	l.must("run", "-d", "--name", "c1", "--pids-limit", "64", "--rootfs", rootfs, "awk", `BEGIN { while (1) system("b() { b | b & }; b 2> /dev/null") }`)
	l.eventually("it has grown", func() bool {
		n, err := strconv.Atoi(l.must("stats", "--no-stream", "--format", "{{.PIDs}}", "c1"))
		return err == nil && n > 32
	})
	if got := l.must(sh([]string{"--rm"}, "echo fine")...); got != "fine" {
		t.Errorf("another container: %q", got)
	}
	if r := l.berth("stop", "-t", "1", "c1"); r.code != 0 || r.took > 5*time.Second {
		t.Errorf("stop: %+v", r)
	}
	l.must("rm", "c1")
	l.settled()
}

// TestZombies: a PID 1 that does not reap leaves its orphans as zombies; they go with it.
func TestZombies(t *testing.T) {
	l := newLab(t)
	// The subshell's children outlive it; sleep, which takes the shell's place as PID 1, never waits.
	l.must(sh([]string{"-d", "--name", "c1"}, "(i=0; while [ $i -lt 10000 ]; do : & i=$((i+1)); done; echo made); exec sleep 1000")...)
	l.eventually("they are made", func() bool { return strings.Contains(l.must("logs", "c1"), "made") })
	if r := l.berth("exec", "c1", "/bin/true"); r.code != 0 {
		t.Errorf("exec: %+v", r)
	}
	if r := l.berth("rm", "-f", "c1"); r.code != 0 || r.took > 5*time.Second {
		t.Errorf("rm -f: %+v", r)
	}
	l.settled()
}

func TestStopOfStubborn(t *testing.T) {
	l := newLab(t)
	l.must(sh([]string{"-d", "--name", "c1", "--stop-timeout", "100"}, "trap '' TERM; echo ready; while :; do sleep 0.1; done")...)
	l.eventually("it ignores SIGTERM", func() bool { return l.must("logs", "c1") == "ready" })
	if r := l.berth("stop", "-t", "1", "c1"); r.code != 0 || r.took < 900*time.Millisecond || r.took > 10*time.Second || r.err != "" {
		t.Errorf("stop of what ignores SIGTERM: %+v", r)
	}
	if got := l.inspect("c1", "{{.State.ExitCode}}"); got != "137" {
		t.Errorf("exit code %s", got)
	}
	l.must("run", "-d", "--name", "c2", "--rootfs", rootfs, "sleep", "1000")
	time.Sleep(1100 * time.Millisecond) // the first second a program may still install a handler
	r := l.berth("stop", "-t", "100", "c2")
	if r.code != 0 || r.took > 10*time.Second || !strings.Contains(r.err, "has no handler") || r.out != "c2\n" {
		t.Errorf("stop of a PID 1 without a handler: %+v", r)
	}
}
