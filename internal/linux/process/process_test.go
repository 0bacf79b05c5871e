package process

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAlive(t *testing.T) {
	start, err := StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !Alive(os.Getpid(), start) || Alive(os.Getpid(), start+1) || Alive(0, 0) || Alive(-1, 0) {
		t.Error("this process must be alive, and only with its own start time")
	}
	c := exec.Command("true")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	pid := c.Process.Pid
	start, _ = StartTime(pid)
	var si unix.Siginfo
	unix.Waitid(unix.P_PID, pid, &si, unix.WEXITED|unix.WNOWAIT, nil)
	if Alive(pid, start) {
		t.Error("a zombie is not alive")
	}
	c.Wait()
	if BootID() == "" {
		t.Error("no boot id")
	}
}

func TestParseStatWithOddNames(t *testing.T) {
	line := "12 (a) b (c) S 1 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4711 1 2 3"
	if start, state, threads := parseStat([]byte(line)); start != 4711 || state != 'S' || threads != 1 {
		t.Errorf("got %d %c %d", start, state, threads)
	}
	for _, bad := range []string{"", ")", "1 (x", "1 (x) S 1"} {
		if _, state, _ := parseStat([]byte(bad)); state != 0 {
			t.Errorf("%q must be refused", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("12 (a) S 1 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4711 1 2 3"))
	f.Fuzz(func(_ *testing.T, b []byte) { parseStat(b); ending(b) })
}

func TestDefaultAction(t *testing.T) {
	// The Go runtime has a handler for SIGTERM, and none can exist for SIGKILL.
	if ok, err := DefaultAction(os.Getpid(), unix.SIGTERM); ok || err != nil {
		t.Errorf("SIGTERM: %v, %v", ok, err)
	}
	if ok, err := DefaultAction(os.Getpid(), unix.SIGKILL); !ok || err != nil {
		t.Errorf("SIGKILL: %v, %v", ok, err)
	}
	cmd := exec.Command("sh", "-c", "trap '' TERM; echo; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()         //nolint:errcheck // it is killed
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if ok, err := DefaultAction(cmd.Process.Pid, unix.SIGTERM); ok || err != nil {
		t.Errorf("SIGTERM, ignored: %v, %v", ok, err)
	}
	if ok, err := DefaultAction(cmd.Process.Pid, unix.SIGHUP); !ok || err != nil {
		t.Errorf("SIGHUP: %v, %v", ok, err)
	}
	if _, err := DefaultAction(1<<30, unix.SIGTERM); err == nil {
		t.Error("a process that does not exist")
	}
}
