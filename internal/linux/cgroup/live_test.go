package cgroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
)

// cpuTime returns how long a process has run, in clock ticks.
func cpuTime(t *testing.T, g *Group) uint64 {
	t.Helper()
	n, err := g.CPUUsage()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFreezeAndThaw(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/freeze", Limits{})
	start(t, g, "while :; do :; done")
	until(t, "the loop runs", func() bool { return cpuTime(t, g) > 2e7 })
	if err := g.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if frozen, err := g.Frozen(); !frozen || err != nil {
		t.Errorf("Frozen = %v, %v", frozen, err)
	}
	before := cpuTime(t, g)
	time.Sleep(50 * time.Millisecond)
	if after := cpuTime(t, g); after != before {
		t.Errorf("used %d ns while frozen", after-before)
	}
	if err := g.Thaw(); err != nil {
		t.Fatal(err)
	}
	if frozen, err := g.Frozen(); frozen || err != nil {
		t.Errorf("after Thaw: Frozen = %v, %v", frozen, err)
	}
	until(t, "the loop runs on", func() bool { return cpuTime(t, g) > before+1e7 })
}

func TestKillEndsAForkBomb(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/bomb", Limits{Pids: 200})
	for _, dir := range g.Paths() {
		if err := os.Mkdir(dir+"/below", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := start(t, g, `exec perl -e 'while (1) { fork }'`) // a shell would end at the first fork that is refused
	until(t, "the bomb grew", func() bool { pids, _ := g.PIDs(); return len(pids) > 50 })
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	var status *syscall.WaitStatus
	if err := cmd.Wait(); err == nil {
		t.Error("the shell ended well")
	} else if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		status = &s
	}
	if status == nil || status.Signal() != syscall.SIGKILL {
		t.Errorf("the shell ended with %v", cmd.ProcessState)
	}
	until(t, "nobody is left", func() bool { pids, err := g.PIDs(); return err == nil && len(pids) == 0 })
	if err := g.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKillReachesAFrozenGroup(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/cold", Limits{})
	cmd := start(t, g, "exec sleep 60")
	if err := g.Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the frozen process did not end")
		<-done
	}
}

func TestFreezeGivesUpAndThaws(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/gone", Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start(t, g, "while :; do :; done")
	until(t, "the loop runs", func() bool { return cpuTime(t, g) > 2e7 })
	err := g.Freeze(ctx)
	if frozen, _ := g.Frozen(); frozen != (err == nil) {
		t.Errorf("Freeze with a cancelled context: %v, and frozen is %v", err, frozen)
	}
	missing := h.Open(parent + "/missing")
	if err := missing.Freeze(t.Context()); err == nil {
		t.Error("froze a group that does not exist")
	}
	if err := missing.Kill(t.Context()); err != nil {
		t.Errorf("killing a group that does not exist: %v", err)
	}
}

func TestStats(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/stats", Limits{NanoCPUs: 2e8, Memory: 128 << 20, Pids: 50})
	empty, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if empty.CPUUsage != 0 || empty.PIDs != 0 || empty.MemoryLimit != 128<<20 {
		t.Errorf("empty group: %+v", empty)
	}
	file := t.TempDir() + "/data"
	fs, err := fsType(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	onDisk := fs != unix.TMPFS_MAGIC // whose pages are not cache: there is nowhere else to keep them
	start(t, g, "dd if=/dev/zero of="+file+" bs=1M count=20 2>/dev/null; dd if=/dev/zero of="+file+".direct bs=1M count=10 oflag=direct 2>/dev/null; : >"+file+".done; while :; do :; done")
	until(t, "it has written", func() bool { return exists(file + ".done") })
	until(t, "it is throttled and its 20 MB are counted as cache", func() bool { // the kernel adds up memory.stat when it finds time
		s, _ := g.Stats()
		return s.ThrottledPeriods > 3 && (s.InactiveFile > 15<<20 || !onDisk)
	})
	s, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.PIDs != 1 || s.Periods < s.ThrottledPeriods || s.ThrottledTime == 0 || s.CPUUsage < 1e7 {
		t.Errorf("%+v", s)
	}
	if s.MemoryUsage < s.InactiveFile || onDisk && s.MemoryInUse() > 20<<20 {
		t.Errorf("cache counts as use: usage %d, inactive %d", s.MemoryUsage, s.InactiveFile)
	}
	// v1 counts written pages to whoever flushes them: only direct i/o is the group's for certain.
	if st, err := os.Stat(file + ".direct"); err == nil && st.Size() == 10<<20 && s.BlockWrite < 10<<20 {
		t.Errorf("10 MB were written, %d are counted", s.BlockWrite)
	}
	if _, err := h.Open(parent + "/missing").Stats(); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("stats of a missing group: %v", err)
	}
	free := create(t, h, parent+"/free", Limits{})
	if s, err := free.Stats(); err != nil || s.MemoryLimit != math.MaxUint64 {
		t.Errorf("without a limit: %d, %v", s.MemoryLimit, err)
	}
}

func TestOOMKills(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/oom", Limits{Memory: 8 << 20, MemorySwap: 8 << 20})
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Fatalf("OOMKills = %d, %v", n, err)
	}
	cmd := start(t, g, "tail /dev/zero")
	_ = cmd.Wait()
	if n, err := g.OOMKills(); n < 1 || err != nil {
		t.Errorf("OOMKills = %d, %v", n, err)
	}
}

func TestDeviceRules(t *testing.T) {
	h, parent := testHost(t)
	script := `
check() { if (eval "$2") 2>/dev/null; then r=yes; else r=no; fi; [ $r = $1 ] || { echo "$2: $r, want $1" >&2; bad=1; }; }
bad=
mknod full c 1 7; mknod kmsg c 1 11
check yes ': >/dev/null'
check yes ': </dev/full'
check KMSGOPEN ': <kmsg'
check DISKREAD ': <disk'
check DISKWRITE ': >>disk'
check MKNOD 'mknod new b 240 1'
[ -z "$bad" ]`
	deny := DeviceRule{Type: 'a', Major: Any, Minor: Any, Access: AllAccess}
	for _, c := range []struct {
		name                             string
		rules                            []DeviceRule
		kmsg, diskRead, diskWrite, mknod string
	}{
		{"default", DefaultDevices(), "no", "no", "no", "yes"},
		{"privileged", AllowAllDevices(), "yes", "yes", "yes", "yes"},
		{"none given", nil, "yes", "yes", "yes", "yes"},
		{"read the disk", append(DefaultDevices(), DeviceRule{true, 'c', 1, 11, Read}), "yes", "no", "no", "yes"},
		{"no mknod", []DeviceRule{deny, {true, 'c', 1, Any, AllAccess}, {true, 'b', 7, 77, Read}}, "yes", "yes", "no", "no"},
	} {
		dir := t.TempDir()
		if err := unix.Mknod(dir+"/disk", unix.S_IFBLK|0o600, int(unix.Mkdev(7, 77))); err != nil {
			t.Skip(err)
		}
		// Without a driver behind the number an allowed open says ENXIO and a denied one EPERM.
		body := strings.NewReplacer("KMSGOPEN", c.kmsg, "MKNOD", c.mknod).Replace(script)
		body = deviceLines(body, c.diskRead, c.diskWrite)
		g := create(t, h, parent+"/devices", Limits{Devices: c.rules})
		cmd := start(t, g, "cd "+dir+"; "+body)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := g.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// deviceLines replaces the tests of the disk, whose open fails either way: the errno tells.
func deviceLines(script, read, write string) string {
	for mark, want := range map[string]string{"check DISKREAD ': <disk'": read, "check DISKWRITE ': >>disk'": write} {
		op := strings.TrimSuffix(mark[strings.Index(mark, ": "):], "'")
		test := fmt.Sprintf(`case $( (%s) 2>&1 ) in *"not permitted"*) r=no;; *) r=yes;; esac; [ $r = %s ] || { echo "%s: $r, want %s" >&2; bad=1; }`, op, want, op, want)
		script = strings.Replace(script, mark, test, 1)
	}
	return script
}

func TestRemoveOfDeepAndBusyGroups(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/deep", Limits{})
	dir, err := openRetry(unix.AT_FDCWD, g.processTree(), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 250)
	for range 30 { // 7500 bytes: longer than a path may be
		if err := unix.Mkdirat(dir, name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkdirat(dir, "side", 0o755); err != nil {
			t.Fatal(err)
		}
		next, err := openRetry(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
		unix.Close(dir)
		if err != nil {
			t.Fatal(err)
		}
		dir = next
	}
	unix.Close(dir)
	if pids, err := g.PIDs(); len(pids) != 0 || err != nil {
		t.Errorf("PIDs = %v, %v", pids, err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}

	g = create(t, h, parent+"/busy", Limits{})
	cmd := start(t, g, "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.Remove(ctx); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a group with a process: %v", err)
	}
	ended := make(chan error)
	go func() {
		time.Sleep(50 * time.Millisecond)
		_ = cmd.Process.Kill()
		ended <- cmd.Wait()
	}()
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("a process that ends meanwhile: %v", err)
	}
	<-ended
}
