package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/errdefs"
)

const testID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// testHost returns the host and a parent group of this test's own, which is
// removed in the end with all that is in it.
func testHost(t testing.TB) (*Host, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making groups needs root")
	}
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	parent := fmt.Sprintf("/berth-test-%d", os.Getpid())
	t.Cleanup(func() {
		g := h.Open(parent)
		if err := errors.Join(g.Kill(context.Background()), g.Remove(context.Background())); err != nil {
			t.Error(err)
		}
		if g.Exists() {
			t.Errorf("%s is still there", parent)
		}
	})
	return h, parent
}

func create(t testing.TB, h *Host, name string, l Limits) *Group {
	t.Helper()
	g, err := h.Create(name, l)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// content reads a control file of a group: v1's or v2's, whichever the host has.
func content(t testing.TB, g *Group, controller, v1, v2 string) string {
	t.Helper()
	file := v1
	if g.host.Version == V2 {
		file = v2
	}
	b, err := os.ReadFile(filepath.Join(g.Path(controller), file))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// start runs a shell script in the group, joined as a container's child does,
// and returns when it has joined.
func start(t testing.TB, g *Group, script string) *exec.Cmd {
	t.Helper()
	dir, err := g.OpenV2()
	if err != nil {
		t.Fatal(err)
	}
	join := ""
	for _, f := range g.JoinFiles(dir != nil) {
		join += "echo 0 > '" + f + "' || exit 99\n"
	}
	joined, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer joined.Close()
	cmd := exec.Command("/bin/sh", "-c", join+"echo >&3; exec 3>&-\n"+script)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if dir != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
		defer dir.Close()
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := joined.Read(make([]byte, 1)); n != 1 {
		t.Fatalf("the child did not join: %v, %v", err, cmd.Wait())
	}
	t.Cleanup(func() {
		_ = g.Kill(context.Background()) // a frozen process of v1 would not end by a signal alone
		_ = cmd.Wait()
	})
	return cmd
}

// until waits for a condition that is about to hold.
func until(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

func TestCreateSetsLimits(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/"+testID, Limits{NanoCPUs: 7.5e8, CPUShares: 512, CpusetCpus: "0", CpusetMems: "0",
		Memory: 64 << 20, MemoryReservation: 32 << 20, Pids: 77, Devices: DefaultDevices()})
	if len(g.Warnings) > 0 {
		t.Error(g.Warnings)
	}
	for _, c := range []struct{ controller, v1, v2, want1, want2 string }{
		{"cpu", "cpu.cfs_quota_us", "cpu.max", "75000", "75000 100000"},
		{"cpu", "cpu.shares", "cpu.weight", "512", "59"},
		{"cpuset", "cpuset.cpus", "cpuset.cpus", "0", "0"},
		{"memory", "memory.limit_in_bytes", "memory.max", "67108864", "67108864"},
		{"memory", "memory.soft_limit_in_bytes", "memory.low", "33554432", "33554432"},
		{"pids", "pids.max", "pids.max", "77", "77"},
	} {
		want := c.want1
		if h.Version == V2 {
			want = c.want2
		}
		if got := content(t, g, c.controller, c.v1, c.v2); got != want {
			t.Errorf("%s: got %q, want %q", c.v1, got, want)
		}
	}
	if _, err := g.Update(Limits{NanoCPUs: 5e8, Pids: -1, CPUShares: 1024}); err != nil {
		t.Fatal(err)
	}
	if got := content(t, g, "pids", "pids.max", "pids.max"); got != "max" {
		t.Errorf("updated pids.max is %q", got)
	}
	if got := content(t, g, "cpu", "cpu.cfs_quota_us", "cpu.max"); !strings.HasPrefix(got, "50000") {
		t.Errorf("updated quota is %q", got)
	}
}

func TestMemoryAndSwapInEitherDirection(t *testing.T) {
	h, parent := testHost(t)
	for _, steps := range [][]int64{{64, 256, 32}, {256, 64, 512}} {
		g := create(t, h, parent+"/swap", Limits{Memory: steps[0] << 20, MemorySwap: 2 * steps[0] << 20})
		for _, mb := range steps[1:] {
			if _, err := g.Update(Limits{Memory: mb << 20, MemorySwap: 2 * mb << 20}); err != nil {
				t.Errorf("to %d MB: %v", mb, err)
			}
			if got, want := content(t, g, "memory", "memory.limit_in_bytes", "memory.max"), fmt.Sprint(mb<<20); got != want {
				t.Errorf("memory limit is %s, want %s", got, want)
			}
		}
		if err := g.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProcCgroupHasTheNameInEveryHierarchy(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/"+testID, Limits{})
	cmd := start(t, g, "exec sleep 60")
	until(t, "the child joined", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		return err == nil && string(b) == "sleep\n"
	})
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	// Another program may have mounted a hierarchy where only it sees that.
	if n := strings.Count(string(b), ":"+parent+"/"+testID+"\n"); n != len(g.Paths()) {
		t.Errorf("in %d of %d hierarchies:\n%s", n, len(g.Paths()), b)
	}
	pids, err := g.PIDs()
	if err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("PIDs = %v, %v; want %d", pids, err, cmd.Process.Pid)
	}
	if of, err := h.OfProcess(cmd.Process.Pid, testID); err != nil || of.Name != g.Name {
		t.Errorf("OfProcess = %+v, %v", of, err)
	}
	if of, err := h.OfProcess(os.Getpid(), testID); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("OfProcess of this process = %+v, %v", of, err)
	}
	if _, err := h.Create(g.Name, Limits{}); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("making a group that is in use: %v", err)
	}
	if pids, err := g.PIDs(); len(pids) != 1 {
		t.Errorf("after the refusal: %v, %v", pids, err)
	}
}

func TestAddProcess(t *testing.T) {
	h, parent := testHost(t)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	g := create(t, h, parent+"/late", Limits{})
	if err := g.AddProcess(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
		t.Errorf("PIDs = %v, %v", pids, err)
	}
}

func TestCreateReplacesWhatAnEarlierRunLeft(t *testing.T) {
	h, parent := testHost(t)
	g := create(t, h, parent+"/old", Limits{Pids: 5})
	for _, dir := range g.Paths() {
		if err := os.Mkdir(dir+"/nested", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g = create(t, h, parent+"/old", Limits{})
	if got := content(t, g, "pids", "pids.max", "pids.max"); got != "max" {
		t.Errorf("the old limit is still there: %s", got)
	}
}

func TestBadLimitsLeaveNothing(t *testing.T) {
	h, parent := testHost(t)
	hundredOne := int64(101)
	for _, c := range []struct {
		limits Limits
		want   string
	}{
		{Limits{NanoCPUs: 1000e9}, "--cpus"},
		{Limits{NanoCPUs: 1}, "--cpus"},
		{Limits{NanoCPUs: -1}, "--cpus"},
		{Limits{NanoCPUs: 1e9, CPUQuota: 1000}, "--cpu-quota"},
		{Limits{NanoCPUs: 1e9, CPUPeriod: 1000}, "--cpu-period"},
		{Limits{CPUPeriod: 10}, "--cpu-period"},
		{Limits{CPUQuota: 10}, "--cpu-quota"},
		{Limits{CpusetCpus: "4000"}, "--cpuset-cpus"},
		{Limits{CpusetCpus: "x"}, "--cpuset-cpus"},
		{Limits{CpusetMems: "99"}, "--cpuset-mems"},
		{Limits{Memory: 4 << 20}, "--memory"},
		{Limits{MemoryReservation: 1}, "--memory-reservation"},
		{Limits{Memory: 64 << 20, MemoryReservation: 65 << 20}, "--memory-reservation"},
		{Limits{MemorySwap: 64 << 20}, "--memory-swap"},
		{Limits{Memory: 64 << 20, MemorySwap: 63 << 20}, "--memory-swap"},
		{Limits{Swappiness: &hundredOne}, "--memory-swappiness"},
		{Limits{Pids: -2}, "--pids-limit"},
		{Limits{BlkioWeight: 9}, "--blkio-weight"},
		{Limits{WeightDevices: []WeightDevice{{8, 0, 1001}}}, "--blkio-weight-device"},
		{Limits{Unified: map[string]string{"../x": "1"}}, "--cgroup-conf"},
		{Limits{ReadBps: []RateDevice{{4095, 99, 1}}}, "--device-read-bps"},
	} {
		g, err := h.Create(parent+"/bad", c.limits)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, %v; want an error about %s", c.limits, g, err, c.want)
		}
		if h.Open(parent + "/bad").Exists() {
			t.Fatalf("%+v: the group was left behind", c.limits)
		}
	}
}

func TestNames(t *testing.T) {
	h := newHost([]hierarchy{{"/c/cpu", "cpu"}, {dir: "/c/unified"}})
	for name, want := range map[string]string{"/docker/x": "/docker/x", "../../etc": "/etc", "a//b/": "/a/b", "/a/../../b": "/b", "": "/"} {
		if g := h.Open(name); g.Name != want {
			t.Errorf("Open(%q).Name = %q, want %q", name, g.Name, want)
		}
	}
	g := h.Open("/docker/x")
	if g.Path("cpu") != "/c/cpu/docker/x" || g.Path("unified") != "/c/unified/docker/x" || g.Path("memory") != "" {
		t.Errorf("paths %q %q %q", g.Path("cpu"), g.Path("unified"), g.Path("memory"))
	}
	if got, want := g.JoinFiles(false), []string{"/c/cpu/docker/x/tasks", "/c/unified/docker/x/cgroup.procs"}; !slices.Equal(got, want) {
		t.Errorf("JoinFiles = %v", got)
	}
	if got := g.JoinFiles(true); len(got) != 1 {
		t.Errorf("JoinFiles(true) = %v", got)
	}
	if _, err := h.Create("/..", Limits{}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("the root: %v", err)
	}
}

func TestGroupWith(t *testing.T) {
	for text, want := range map[string]string{
		"0::/docker/ID\n": "/docker/ID",
		"3:cpu:/\n2:memory:/a/docker-ID.scope/init.scope/x\n": "/a/docker-ID.scope",
		"1:name=systemd:/docker/ID/:/b\n":                     "/docker/ID",
		"0::/docker/other\n":                                  "",
		"0::ID\nbad\n":                                        "",
	} {
		if got, ok := groupWith(text, "ID"); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", text, got, ok, want)
		}
	}
}

func BenchmarkCreateRemove(b *testing.B) {
	h, parent := testHost(b)
	name := parent + "/" + testID
	limits := Limits{NanoCPUs: 1.5e9, Memory: 64 << 20, MemorySwap: 128 << 20, Pids: 2048, Devices: DefaultDevices()}
	b.ReportAllocs()
	for b.Loop() {
		g, err := h.Create(name, limits)
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Remove(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
