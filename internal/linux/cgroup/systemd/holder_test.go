package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestHolder(t *testing.T) {
	h, err := Hold()
	if err != nil {
		t.Fatal(err)
	}
	dir := "/proc/" + strconv.Itoa(h.PID)
	var fds []os.DirEntry
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if fds, err = os.ReadDir(dir + "/fd"); err == nil && len(fds) == 1 {
			break
		}
	}
	if len(fds) != 1 {
		t.Errorf("the holder keeps %d descriptors", len(fds))
	}
	if threads, err := filepath.Glob(dir + "/task/*"); err != nil || len(threads) != 1 {
		t.Errorf("threads %v, %v", threads, err)
	}
	if err := h.Release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the holder is still there")
	}
	if err := h.Release(); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// TestHolderDiesWithItsMaker runs this test binary again as a maker that is killed.
func TestHolderDiesWithItsMaker(t *testing.T) {
	if os.Getenv("BERTH_TEST_MAKER") != "" {
		h, err := Hold()
		if err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString(strconv.Itoa(h.PID) + "\n")
		time.Sleep(time.Minute)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestHolderDiesWithItsMaker$")
	cmd.Env = append(os.Environ(), "BERTH_TEST_MAKER=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32)
	n, err := out.Read(buf)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(buf[:n]))
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return // ended; whoever adopted it may still have to look
		}
		if time.Now().After(end) {
			t.Fatalf("the holder outlives its maker: %s", stat)
		}
	}
}
