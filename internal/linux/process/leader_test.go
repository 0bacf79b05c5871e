package process

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leaderless makes this test binary a process whose first thread has ended, and
// idle one that waits to be killed.
const (
	leaderless = "BERTH_TEST_LEADERLESS"
	idle       = "BERTH_TEST_IDLE"
)

func TestMain(m *testing.M) {
	if os.Getenv(idle) != "" {
		os.Stdout.WriteString("x")
		time.Sleep(time.Minute) // killed before
		os.Exit(0)
	}
	if os.Getenv(leaderless) == "" {
		os.Exit(m.Run())
	}
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		os.Exit(1)
	}
	go func() {
		time.Sleep(time.Minute) // killed before
		os.Exit(0)
	}()
	unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

func TestAliveWithoutFirstThread(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), leaderless+"=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer cmd.Wait()         //nolint:errcheck // it is killed
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	start, err := StartTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			t.Fatal(err)
		}
		if _, state, _ := parseStat(text); state == 'Z' {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the first thread does not end")
		}
	}
	if !Alive(pid, start) {
		t.Error("a process whose other threads run is alive")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); Alive(pid, start); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a zombie is not alive")
		}
	}
}
