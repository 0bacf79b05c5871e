package process

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestEnding looks at a process at every moment between the sending of a deadly
// signal and the time when nothing is left of it.
func TestEnding(t *testing.T) {
	if Ending(os.Getpid()) {
		t.Error("this process is not about to end")
	}
	for range 50 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), idle+"=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it has threads now
			t.Fatal(err)
		}
		pid := cmd.Process.Pid
		if Ending(pid) {
			t.Error("it runs")
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for ended := false; !ended; {
			if !Ending(pid) {
				t.Error("it was killed")
			}
			var si unix.Siginfo
			if err := unix.Waitid(unix.P_PID, pid, &si, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil); err != nil {
				t.Fatal(err)
			}
			ended = si.Signo != 0
		}
		if !Ending(pid) {
			t.Error("it is a zombie")
		}
		if err := cmd.Wait(); err == nil {
			t.Error("it ended well")
		}
		if !Ending(pid) {
			t.Error("it is gone")
		}
	}
}

func TestEndingByField(t *testing.T) {
	status := func(state, own, shared string) string {
		return "Name:\tx\\nState:\tZ\nUmask:\t0022\nState:\t" + state + "\nTgid:\t12\nSigQ:\t0/100\nSigPnd:\t" + own + "\nShdPnd:\t" + shared + "\nSigBlk:\t0000000000000100\n"
	}
	const none, kill, term = "0000000000000000", "0000000000000100", "0000000000004000"
	for text, want := range map[string]bool{
		status("S (sleeping)", none, none):   false,
		status("S (sleeping)", none, term):   false,
		status("R (running)", none, kill):    true,
		status("D (disk sleep)", kill, none): true,
		status("Z (zombie)", none, none):     true,
		status("X (dead)", none, none):       true,
		"":                                   false, "State:": false, "\nSigPnd:\t": false,
	} {
		if got := ending([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func BenchmarkEnding(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Ending(os.Getppid())
	}
}
