package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newFullLab returns an engine on a file system of its own, and what fills that
// to the last byte.
func newFullLab(t *testing.T, size string) (l *lab, fill func()) {
	t.Helper()
	disk := t.TempDir()
	if err := unix.Mount("crash", disk, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return newLabAt(t, filepath.Join(disk, "data")), func() {
		f, err := os.Create(disk + "/filler")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for chunk := make([]byte, 1<<16); len(chunk) > 0; {
			if _, err := f.Write(chunk); err != nil {
				chunk = chunk[:len(chunk)/2]
			}
		}
		var st unix.Statfs_t
		if err := unix.Statfs(disk, &st); err != nil || st.Bfree != 0 {
			t.Fatalf("%d blocks are free, %v", st.Bfree, err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	l, fill := newFullLab(t, "32m")
	for _, name := range []string{"c1", "c2", "c3"} {
		l.must(sh([]string{"-d", "--name", name}, "trap 'exit 0' TERM; while :; do echo output; sleep 0.02; done")...)
	}
	fill()
	if got := len(strings.Fields(l.must("ps", "-q"))); got != 3 {
		t.Errorf("ps: %d containers", got)
	}
	r := l.berth(program([]string{"run", "-d"}, "/bin/sleep", "1000")...)
	if r.code != 125 || strings.Count(r.err, "\n") > 2 || !strings.Contains(r.err, "no space left") {
		t.Errorf("run on a full disk: %+v", r)
	}
	l.must("stop", "c1")
	if got := l.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}"); got != "exited 0" {
		t.Errorf("after stop: %s", got)
	}
	l.must("rm", "c1")
	l.must("rm", "-f", "c2", "c3")
	if got := l.must("ps", "-aq"); got != "" {
		t.Errorf("left: %s", got)
	}
	l.settled()
}

// TestFlood: a container that prints more than its log may hold is not stopped
// by it, and its last lines are kept.
func TestFlood(t *testing.T) {
	l := newLab(t)
	const lines = 800_000 // of some 80 bytes as JSON: twice the cap
	began := time.Now()
	l.must(sh([]string{"-d", "--name", "c1"}, fmt.Sprintf("seq %d; echo the end", lines))...)
	for l.inspect("c1", "{{.State.Status}}") != "exited" {
		if time.Sleep(20 * time.Millisecond); time.Since(began) > limit {
			t.Fatal("it is blocked by its log")
		}
	}
	if got := l.must("logs", "--tail", "2", "c1"); got != fmt.Sprintf("%d\nthe end", lines) {
		t.Errorf("the last lines: %q", got)
	}
	const top = 3*(10<<20) + (64 << 10)
	files, _ := filepath.Glob(l.data + "/containers/*/*-json.log*")
	total := int64(0)
	for _, f := range files {
		fi, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += fi.Size()
	}
	if len(files) == 0 || total > top || total < 10<<20 {
		t.Errorf("%d files of %d bytes", len(files), total)
	}
}

// TestFloodOnFullDisk: nor is it when there is no room for the log at all.
func TestFloodOnFullDisk(t *testing.T) {
	l, fill := newFullLab(t, "32m")
	l.must(sh([]string{"-d", "--name", "c1"}, "while [ ! -e /go ]; do sleep 0.01; done; seq 200000; echo the end; exit 4")...)
	defer os.Remove(rootfs + "/go") //nolint:errcheck // the next test may find it
	fill()
	if err := os.WriteFile(rootfs+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.eventually("it ends", func() bool { return l.inspect("c1", "{{.State.Status}} {{.State.ExitCode}}") == "exited 4" })
	l.must("rm", "c1")
}
