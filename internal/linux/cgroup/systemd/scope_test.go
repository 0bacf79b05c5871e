package systemd

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/linux/cgroup"

	"github.com/google/go-cmp/cmp"
)

// reply builds a message of the manager's.
func reply(kind byte, serial uint32, member, errorName string, body func(*encoder)) []byte {
	var content encoder
	body(&content)
	e := encoder{b: []byte{'l', kind, 1, 1}}
	e.u32(uint32(len(content.b)))
	e.u32(99)
	e.array(8, func() {
		field := func(code byte, kind string, value func()) {
			e.align(8)
			e.b = append(e.b, code)
			e.signature(kind)
			value()
		}
		field(fieldReplySerial, "u", func() { e.u32(serial) })
		if member != "" {
			field(fieldMember, "s", func() { e.str(member) })
		}
		if errorName != "" {
			field(fieldErrorName, "s", func() { e.str(errorName) })
		}
	})
	e.align(8)
	return append(e.b, content.b...)
}

func removed(job, result string) []byte {
	return reply(signal, 0, "JobRemoved", "", func(e *encoder) {
		e.u32(5)
		e.str(job)
		e.str("docker-x.scope")
		e.str(result)
	})
}

func object(path string) func(*encoder) { return func(e *encoder) { e.str(path) } }

// manager plays systemd on a socket: it lets everyone in and gives the n-th
// call the n-th answer. It returns the members called.
func manager(t *testing.T, answers ...[]byte) (socket string, calls chan string) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the answers are little-endian")
	}
	socket = filepath.Join(t.TempDir(), "private")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	calls = make(chan string, len(answers)+1)
	t.Cleanup(func() { l.Close() })
	go func() {
		defer close(calls)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		if line, _ := r.ReadString('\n'); !strings.HasPrefix(line, "\x00AUTH EXTERNAL ") {
			return
		}
		if _, err := r.ReadString('\n'); err != nil {
			return
		}
		_, _ = c.Write([]byte("OK 0123456789abcdef\r\n"))
		for _, answer := range answers {
			head := make([]byte, fixedHeader)
			if _, err := io.ReadFull(r, head); err != nil {
				return
			}
			fields, body, err := messageSize(head)
			if err != nil {
				return
			}
			rest := make([]byte, fields+body-fixedHeader)
			if _, err := io.ReadFull(r, rest); err != nil {
				return
			}
			m, err := unmarshal(append(head, rest...))
			if err != nil {
				return
			}
			calls <- m.member
			for len(answer) > 0 { // in small pieces, as a stream may
				n := min(7, len(answer))
				if _, err := c.Write(answer[:n]); err != nil {
					return
				}
				answer = answer[n:]
			}
		}
		_, _ = r.ReadByte()
	}()
	return socket, calls
}

func join(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func noUnit(serial uint32) []byte {
	return reply(errorReply, serial, "", "org.freedesktop.systemd1.NoSuchUnit", object("none"))
}

func noGroup(e *encoder) { e.variant("") }

func TestStart(t *testing.T) {
	exists := reply(errorReply, 1, "", "org.freedesktop.systemd1.UnitExists", object("there is one"))
	for _, c := range []struct {
		name    string
		answers [][]byte
		calls   string
		want    string // in the error; "": none
	}{
		{"made", [][]byte{join(reply(methodReturn, 1, "", "", object("/job/1")), removed("/job/0", "failed"), removed("/job/1", "done"))}, "StartTransientUnit", ""},
		{"signal first", [][]byte{join(removed("/job/1", "done"), reply(methodReturn, 1, "", "", object("/job/1")))}, "StartTransientUnit", ""},
		{"failed job", [][]byte{join(reply(methodReturn, 1, "", "", object("/job/1")), removed("/job/1", "failed"))}, "StartTransientUnit", `"failed"`},
		{"refused", [][]byte{reply(errorReply, 1, "", "org.freedesktop.DBus.Error.AccessDenied", object("not you"))}, "StartTransientUnit", "not you"},
		{"left by an earlier run", [][]byte{exists, noUnit(2), noUnit(3),
			join(reply(methodReturn, 4, "", "", object("/job/2")), removed("/job/2", "done"))},
			"StartTransientUnit GetUnit StopUnit StartTransientUnit", ""},
		{"ended just now", [][]byte{exists, reply(methodReturn, 2, "", "", object("/unit/x")), reply(methodReturn, 3, "", "", noGroup),
			join(reply(methodReturn, 4, "", "", object("/job/3")), removed("/job/3", "done")), noUnit(5),
			join(reply(methodReturn, 6, "", "", object("/job/2")), removed("/job/2", "done"))},
			"StartTransientUnit GetUnit Get StopUnit ResetFailedUnit StartTransientUnit", ""},
		{"garbage", [][]byte{[]byte("this is not D-Bus at all")}, "StartTransientUnit", "malformed"},
	} {
		socket, calls := manager(t, c.answers...)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		conn, err := open(ctx, socket)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		err = conn.start(ctx, &Scope{ID: "x", Slice: DefaultSlice, PID: 1}, &cgroup.Limits{})
		conn.close()
		cancel()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		var called []string
		for member := range calls {
			called = append(called, member)
		}
		if got := strings.Join(called, " "); got != c.calls {
			t.Errorf("%s: called %s, want %s", c.name, got, c.calls)
		}
	}
}

func TestSilentManager(t *testing.T) {
	socket, _ := manager(t, nil)
	conn, err := open(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := conn.start(ctx, &Scope{ID: "x"}, &cgroup.Limits{}); !errors.Is(err, errdefs.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestProperties(t *testing.T) {
	got := map[string]any{}
	for _, p := range properties(&Scope{ID: "x", Slice: "web.slice", PID: 42}, &cgroup.Limits{NanoCPUs: 1.234e9, CPUShares: 1024, CpusetCpus: "0,9",
		Memory: 1 << 26, MemorySwap: 1 << 27, Pids: -1, BlkioWeight: 500}) {
		got[p.name] = p.value
	}
	want := map[string]any{"Description": "container x", "Slice": "web.slice", "PIDs": []uint32{42}, "Delegate": true,
		"CPUAccounting": true, "MemoryAccounting": true, "TasksAccounting": true, "IOAccounting": true,
		"DefaultDependencies": false, "CollectMode": "inactive-or-failed",
		"CPUWeight": uint64(100), "CPUQuotaPerSecUSec": uint64(1240000), "CPUQuotaPeriodUSec": uint64(100000), "AllowedCPUs": []byte{1, 2},
		"MemoryMax": uint64(1 << 26), "MemorySwapMax": uint64(1 << 26), "TasksMax": ^uint64(0), "IOWeight": uint64(4950)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheckSlice(t *testing.T) {
	for _, good := range []string{"system.slice", "web-front.slice", "a_b:c.d.slice", "-.slice"} {
		if err := CheckSlice(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", ".slice", "system", "/system.slice", "a/b.slice", "-a.slice", "a-.slice", "a--b.slice", "a b.slice", "ü.slice", strings.Repeat("x", 300) + ".slice"} {
		if err := CheckSlice(bad); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestGroupName(t *testing.T) {
	for slice, want := range map[string]string{"": "/system.slice/docker-x.scope", "-.slice": "/docker-x.scope",
		"a-b-c.slice": "/a.slice/a-b.slice/a-b-c.slice/docker-x.scope"} {
		if got := GroupName(slice, "x"); got != want {
			t.Errorf("%q: got %s, want %s", slice, got, want)
		}
	}
}

// TestRealSystemd makes a scope with the systemd of this machine.
func TestRealSystemd(t *testing.T) {
	h, err := cgroup.Detect()
	if err != nil || h.Version != cgroup.V2 || !Available() || os.Geteuid() != 0 {
		t.Skip("needs cgroup v2, systemd and root")
	}
	for round := range 2 { // the second time under the same name
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		g, err := Create(t.Context(), h, Scope{ID: "berthtest", Slice: "berth-test.slice", PID: cmd.Process.Pid},
			cgroup.Limits{NanoCPUs: 1.234e9, Memory: 64 << 20, MemorySwap: 64 << 20, Pids: 33, CpusetCpus: "0", CPUShares: 512, Devices: cgroup.DefaultDevices()})
		if err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("round %d: %v", round, err)
		}
		if want := GroupName("berth-test.slice", "berthtest"); g.Name != want {
			t.Errorf("the group is %s, want %s", g.Name, want)
		}
		if out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput(); err != nil {
			t.Errorf("daemon-reload: %v %s", err, out)
		}
		for file, want := range map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "pids.max": "33", "cpuset.cpus": "0", "cpu.weight": "59"} {
			if b, err := os.ReadFile(g.Path("") + "/" + file); err != nil || strings.TrimSpace(string(b)) != want {
				t.Errorf("%s is %q, %v; want %s", file, b, err, want)
			}
		}
		out, err := exec.Command("systemctl", "show", "-p", "Description,Delegate,TasksMax,ActiveState", Unit("berthtest")).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "TasksMax=33") || !strings.Contains(string(out), "Delegate=yes") || !strings.Contains(string(out), "ActiveState=active") {
			t.Errorf("systemctl show: %v\n%s", err, out)
		}
		if pids, err := g.PIDs(); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
			t.Errorf("PIDs %v, %v", pids, err)
		}
		if round == 0 {
			other := exec.Command("sleep", "60")
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			if _, err := Create(t.Context(), h, Scope{ID: "berthtest", PID: other.Process.Pid}, cgroup.Limits{}); !errors.Is(err, errdefs.AlreadyExists) {
				t.Errorf("a name in use: %v", err)
			}
			_ = other.Process.Kill()
			_ = other.Wait()
		}
		if err := g.Kill(t.Context()); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		if round == 0 {
			continue // straight to the next, before systemd has seen the end
		}
		if err := Remove(t.Context(), g); err != nil {
			t.Error(err)
		}
		if g.Exists() {
			t.Error("the group is still there")
		}
		if err := Remove(t.Context(), g); err != nil {
			t.Errorf("the second time: %v", err)
		}
	}
	c, err := open(t.Context(), busSocket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := c.enterBus(t.Context()); err != nil {
		t.Errorf("over the bus: %v", err)
	}
}

// TestRealSystemdWithHolder makes the scope first and the process in it later.
func TestRealSystemdWithHolder(t *testing.T) {
	h, err := cgroup.Detect()
	if err != nil || h.Version != cgroup.V2 || !Available() || os.Geteuid() != 0 {
		t.Skip("needs cgroup v2, systemd and root")
	}
	holder, err := Hold()
	if err != nil {
		t.Fatal(err)
	}
	g, err := Create(t.Context(), h, Scope{ID: "berthheld", PID: holder.PID}, cgroup.Limits{Pids: 2, Memory: 6 << 20})
	if err != nil {
		t.Fatal(errors.Join(err, holder.Release()))
	}
	dir, err := g.OpenV2()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	err = cmd.Start()
	dir.Close()
	if err := errors.Join(err, holder.Release()); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.PIDs(); err != nil || len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("PIDs %v, %v", pids, err)
	}
	time.Sleep(100 * time.Millisecond) // systemd must not take the holder's end for the scope's
	if out, err := exec.Command("systemctl", "is-active", Unit("berthheld")).CombinedOutput(); err != nil {
		t.Errorf("the scope is %s", out)
	}
	if err := g.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if err := Remove(t.Context(), g); err != nil || g.Exists() {
		t.Errorf("%v; exists %v", err, g.Exists())
	}
}
