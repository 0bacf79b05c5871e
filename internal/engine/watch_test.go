package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/cgroup"
	"berth/internal/linux/process"
)

// watchBed is an engine over containers that are no more than a record, a
// cgroup and a process.
type watchBed struct {
	t      *testing.T
	e      *Engine
	host   *cgroup.Host
	parent string
}

func newWatchBed(t *testing.T) *watchBed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making groups needs root")
	}
	root := t.TempDir()
	e, err := Open(t.Context(), Options{DataRoot: filepath.Join(root, "data"), StateRoot: filepath.Join(root, "state")})
	if err != nil {
		t.Fatal(err)
	}
	host, err := e.cgroups()
	if err != nil {
		t.Fatal(err)
	}
	b := &watchBed{t, e, host, fmt.Sprintf("/berth-engine-test-%d", os.Getpid())}
	t.Cleanup(func() {
		g := host.Open(b.parent)
		if err := errors.Join(g.Kill(context.Background()), g.Remove(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return b
}

// created makes a container that does not run.
func (b *watchBed) created(name string) string {
	b.t.Helper()
	id := ident.New()
	rec := &container.Record{ID: id, Created: time.Now(), Path: "sh"}
	rec.HostConfig.CgroupParent = b.parent
	rec.State.Name = name
	if err := b.e.store.Create(rec, atomicfile.Atomic); err != nil {
		b.t.Fatal(err)
	}
	return id
}

// running makes a container whose PID 1 runs a shell script.
func (b *watchBed) running(name, script string, l cgroup.Limits) (id string, g *cgroup.Group) {
	b.t.Helper()
	id = b.created(name)
	g, err := b.host.Create(b.parent+"/"+id, l)
	if err != nil {
		b.t.Fatal(err)
	}
	dir, err := g.OpenV2()
	if err != nil {
		b.t.Fatal(err)
	}
	join := ""
	for _, f := range g.JoinFiles(dir != nil) {
		join += "echo 0 > '" + f + "' || exit 99\n"
	}
	cmd := exec.Command("/bin/sh", "-c", join+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if dir != nil {
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = g.Kill(context.Background())
		_ = cmd.Wait()
	})
	start, err := process.StartTime(cmd.Process.Pid)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.e.store.Update(id, func(s *container.State) error {
		s.Status, s.PID, s.PIDStart, s.MonitorPID, s.BootID, s.StartedAt = container.Running, cmd.Process.Pid, start, os.Getpid(), process.BootID(), time.Now()
		return nil
	}); err != nil {
		b.t.Fatal(err)
	}
	pid := strconv.Itoa(cmd.Process.Pid)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		apart := slices.DeleteFunc(g.Paths(), func(dir string) bool {
			procs, _ := os.ReadFile(dir + "/cgroup.procs")
			return slices.Contains(strings.Fields(string(procs)), pid)
		})
		if len(apart) == 0 {
			return id, g
		}
		if time.Now().After(end) {
			b.t.Fatalf("the container did not join %q", apart)
		}
	}
}

func (b *watchBed) stats(refs []string, all bool) (list []Stats) {
	b.t.Helper()
	err := b.e.Containers.Stats(b.t.Context(), refs, all, false, func(l []Stats) error { list = l; return nil })
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func cpuOf(t *testing.T, g *cgroup.Group) uint64 {
	t.Helper()
	n, err := g.CPUUsage()
	must(t, err)
	return n
}

func TestStatsOfBusyAndIdle(t *testing.T) {
	b := newWatchBed(t)
	const loop = "while :; do :; done"
	busy, g := b.running("busy", loop, cgroup.Limits{NanoCPUs: 5e8, Memory: 64 << 20})
	idle, _ := b.running("idle", "exec sleep 100", cgroup.Limits{})
	off := b.created("off")

	time.Sleep(300 * time.Millisecond) // the first period is not throttled like the others
	before, begin := cpuOf(t, g), time.Now()
	list := b.stats(nil, false)
	used := float64(cpuOf(t, g)-before) / float64(time.Since(begin)) * 100 // on a busy machine it does not get its half
	if len(list) != 2 || list[0].ID != idle || list[1].ID != busy {
		t.Fatalf("want idle and busy, newest first: %+v", list)
	}
	if s := list[1]; s.Name != "busy" || s.CPUPercent < used-25 || s.CPUPercent > min(used+25, 75) || s.MemoryLimit != 64<<20 || s.MemoryUsage == 0 || s.MemoryUsage > 32<<20 || s.PIDs != 1 {
		t.Errorf("busy with half a core, of which it had %.0f %%: %+v", used, s)
	}
	if s := list[0]; s.CPUPercent > 5 || s.PIDs != 1 || s.MemoryLimit != hostMemory() {
		t.Errorf("idle: %+v", s)
	}
	if list := b.stats(nil, true); len(list) != 3 || list[0] != (Stats{ID: off, Name: "off"}) {
		t.Errorf("with all: %+v", list)
	}
	if list := b.stats([]string{"busy", off[:12]}, false); len(list) != 2 || list[0].ID != busy || list[1].ID != off {
		t.Errorf("by reference: %+v", list)
	}
	err := b.e.Containers.Stats(t.Context(), []string{"nobody"}, false, false, func([]Stats) error { return nil })
	if !errors.Is(err, errdefs.NotFound) {
		t.Errorf("unknown container: %v", err)
	}
}

func TestStatsStream(t *testing.T) {
	b := newWatchBed(t)
	id, g := b.running("web", "while :; do :; done", cgroup.Limits{NanoCPUs: 2e8})
	enough := errors.New("enough")
	rounds := 0
	err := b.e.Containers.Stats(t.Context(), []string{"web"}, false, true, func(l []Stats) error {
		rounds++
		switch {
		case len(l) != 1:
			t.Errorf("round %d: %+v", rounds, l)
		case rounds == 1:
			if l[0].CPUPercent == 0 {
				t.Errorf("no CPU figure at first: %+v", l[0])
			}
			if _, err := b.e.store.Update(id, func(s *container.State) error {
				s.Status, s.PID, s.MonitorPID = container.Exited, 0, 0
				return nil
			}); err != nil {
				t.Error(err)
			}
			return g.Kill(t.Context())
		case l[0] != (Stats{ID: id, Name: "web"}):
			t.Errorf("after the end: %+v", l[0])
		default:
			return enough
		}
		return nil
	})
	if err != enough {
		t.Errorf("got %v after %d rounds", err, rounds)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := b.e.Containers.Stats(ctx, []string{"web"}, false, true, func([]Stats) error { return nil }); !errors.Is(err, enough) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestStatsOfNothingDoesNotWait(t *testing.T) {
	b := newWatchBed(t)
	fastest := firstLook
	for range 5 { // any may be slow on a busy machine; one that waits always is
		begin := time.Now()
		if list := b.stats(nil, false); len(list) != 0 {
			t.Errorf("got %+v", list)
		}
		fastest = min(fastest, time.Since(begin))
	}
	if fastest > firstLook/2 {
		t.Errorf("took %v", fastest)
	}
}

func TestPauseAndUnpause(t *testing.T) {
	b := newWatchBed(t)
	id, g := b.running("web", "while :; do :; done", cgroup.Limits{})
	c := b.e.Containers
	if err := c.Unpause(t.Context(), "web"); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("unpause of a running container: %v", err)
	}
	if err := c.Pause(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	st, err := b.e.store.LoadState(id)
	if frozen, ferr := g.Frozen(); st.Status != container.Paused || err != nil || !frozen || ferr != nil {
		t.Errorf("status %s, %v; frozen %v, %v", st.Status, err, frozen, ferr)
	}
	if err := c.Pause(t.Context(), "web"); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("pause of a paused container: %v", err)
	}
	if list := b.stats(nil, false); len(list) != 1 || list[0].CPUPercent != 0 {
		t.Errorf("stats of a paused container: %+v", list)
	}
	if err := c.Unpause(t.Context(), id[:10]); err != nil {
		t.Fatal(err)
	}
	st, err = b.e.store.LoadState(id)
	if frozen, ferr := g.Frozen(); st.Status != container.Running || err != nil || frozen || ferr != nil {
		t.Errorf("status %s, %v; frozen %v, %v", st.Status, err, frozen, ferr)
	}
	b.created("off")
	for ref, kind := range map[string]errdefs.Kind{"off": errdefs.Conflict, "nobody": errdefs.NotFound} {
		if err := c.Pause(t.Context(), ref); !errors.Is(err, kind) {
			t.Errorf("pause %s: %v", ref, err)
		}
		if err := c.Unpause(t.Context(), ref); !errors.Is(err, kind) {
			t.Errorf("unpause %s: %v", ref, err)
		}
	}
}

func TestPauseOfALostGroupChangesNothing(t *testing.T) {
	b := newWatchBed(t)
	id := b.created("web")
	if _, err := b.e.store.Update(id, func(s *container.State) error { // runs, but in no group of its own
		start, err := process.StartTime(os.Getpid())
		s.Status, s.PID, s.PIDStart, s.MonitorPID, s.BootID = container.Running, os.Getpid(), start, os.Getpid(), process.BootID()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.e.Containers.Pause(t.Context(), "web"); err == nil {
		t.Error("paused a container without a group")
	}
	if st, err := b.e.store.LoadState(id); st.Status != container.Running || err != nil {
		t.Errorf("status %s, %v", st.Status, err)
	}
}

func TestTop(t *testing.T) {
	b := newWatchBed(t)
	id, _ := b.running("web", "sleep 101 & sleep 102 & wait", cgroup.Limits{})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		_, rows, err := b.e.Containers.Top(t.Context(), id, []string{"-o", "comm"})
		if err == nil && len(rows) == 3 && rows[1][0] == "sleep" && rows[2][0] == "sleep" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the processes did not start: %v, %v", rows, err)
		}
	}
	titles, rows, err := b.e.Containers.Top(t.Context(), id, nil)
	if err != nil || !slices.Equal(titles, []string{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}) || len(rows) != 3 {
		t.Fatalf("%v %v %v", titles, rows, err)
	}
	if rows[0][0] != "root" || rows[1][2] != rows[0][1] {
		t.Errorf("rows %v", rows)
	}
	_, rows, err = b.e.Containers.Top(t.Context(), "web", []string{"-o", "pid,args"})
	var last []string
	for _, r := range rows {
		last = append(last, r[1])
	}
	if err != nil || !slices.Contains(last, "sleep 101") || !slices.Contains(last, "sleep 102") {
		t.Errorf("%v %v", rows, err)
	}
	if _, _, err := b.e.Containers.Top(t.Context(), "web", []string{"--nonsense"}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("bad option: %v", err)
	}
	b.created("off")
	if _, _, err := b.e.Containers.Top(t.Context(), "off", nil); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("stopped container: %v", err)
	}
}

func TestTraffic(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:4242       12    0    0    0     0          0         0     1000       9    0    0    0     0       0          0
  eth1:    8       1    0    0    0     0          0         0        7       1    0    0    0     0       0          0
 short: 1 2
`
	if rx, tx := traffic(text); rx != 4250 || tx != 1007 {
		t.Errorf("got %d, %d", rx, tx)
	}
}

func FuzzTraffic(f *testing.F) {
	f.Add("  eth0:4242 12 0 0 0 0 0 0 1000 9 0 0 0 0 0 0\n")
	f.Fuzz(func(_ *testing.T, text string) { traffic(text) })
}
