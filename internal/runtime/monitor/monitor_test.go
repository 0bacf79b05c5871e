package monitor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// memoryLog keeps what was logged.
type memoryLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *memoryLog) Write(_ byte, p []byte, _ time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	return nil
}

func (l *memoryLog) Close() error { return nil }

// launched is a monitor in a goroutine with a plain shell instead of a container.
type launched struct {
	*Connection
	plan *Plan
	log  *memoryLog
	done chan Exit
	pid  int
}

func launch(t *testing.T, script string, plan Plan) (*launched, error) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var in, out, errp [2]int
	for _, p := range []*[2]int{&in, &out, &errp} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
	}
	b := program.NewBuilder()
	var none [8]byte
	b.Call("unblock signals", unix.SYS_RT_SIGPROCMASK, program.Int(unix.SIG_SETMASK), program.Bytes(none[:]), program.Int(0), program.Int(8))
	for i := range 3 {
		b.Call("stdio", unix.SYS_DUP3, program.FD(i), program.Int(i), program.Int(0))
	}
	b.Call("close", unix.SYS_CLOSE_RANGE, program.Int(3), program.Int(uint64(^uint32(0))), program.Int(0))
	b.Call("exec", unix.SYS_EXECVE, program.Str("/bin/sh"), program.At(b.Vector([]string{"sh", "-c", script})), program.At(b.Vector([]string{"PATH=/bin:/usr/bin"})))
	plan.Socket = filepath.Join(t.TempDir(), strings.Repeat("long", 30), "attach.sock")
	if err := os.MkdirAll(filepath.Dir(plan.Socket), 0o700); err != nil {
		t.Fatal(err)
	}
	plan.ProgramFDs, plan.PIDNS, plan.Cgroup, plan.TermSocket, plan.Lease = 3, -1, -1, -1, -1
	plan.StdinW, plan.StdoutR, plan.StderrR = 3, 4, 5
	l := &launched{Connection: NewConnection(pair[0]), plan: &plan, log: &memoryLog{}, done: make(chan Exit, 1)}
	go func() {
		_, exit := Serve(pair[1], Hooks{
			OpenLog:  func(*Plan) (Log, error) { return l.log, nil },
			Started:  func(*Plan, int) error { return nil },
			KillRest: func(*Plan) {},
			Exited:   func(*Plan, Exit) {},
			Reclaim:  func(_ *Plan, e Exit) { l.done <- e },
		})
		_ = exit
	}()
	fds := []int{in[0], out[1], errp[1], in[1], out[0], errp[0]}
	if err := Send(l.FD(), &plan, b.Program(), fds); err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	l.pid, err = l.AwaitStart()
	return l, err
}

var all = Streams{Stdin: true, Stdout: true, Stderr: true}

func TestOutputInputAndExitCode(t *testing.T) {
	l, err := launch(t, "echo out; echo err >&2; cat; exit 5", Plan{Attach: all.Flags(), StdinOnce: true})
	if err != nil {
		t.Fatal(err)
	}
	var out, errw bytes.Buffer
	code, err := l.Copy(strings.NewReader("typed"), &out, &errw)
	if code != 5 || err != nil || out.String() != "out\ntyped" || errw.String() != "err\n" {
		t.Errorf("got %d, %v, %q, %q", code, err, out.String(), errw.String())
	}
	if e := <-l.done; e.Code != 5 {
		t.Errorf("exit %+v", e)
	}
	if got := l.log.buf.String(); len(got) != len("out\nerr\ntyped") {
		t.Errorf("log %q", got)
	}
	if _, err := os.Stat(l.plan.Socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestSignalledProgram(t *testing.T) {
	l, err := launch(t, "kill -TERM $$", Plan{Attach: all.Flags()})
	if err != nil {
		t.Fatal(err)
	}
	if code, err := l.Copy(nil, io.Discard, io.Discard); code != 143 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
}

func TestLargeFlowsBothWays(t *testing.T) {
	l, err := launch(t, "cat", Plan{Attach: all.Flags(), StdinOnce: true})
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	var out slowWriter
	code, err := l.Copy(bytes.NewReader(data), &out, io.Discard)
	if code != 0 || err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("got %d, %v, %d bytes of %d", code, err, out.Len(), len(data))
	}
}

// slowWriter makes the client lag behind, so that the monitor has to wait for it.
type slowWriter struct{ bytes.Buffer }

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.Len()%(1<<18) < len(p) {
		time.Sleep(5 * time.Millisecond)
	}
	return w.Buffer.Write(p)
}

func TestClientThatDoesNotReadDelaysNothing(t *testing.T) {
	l, err := launch(t, "exec cat /dev/zero", Plan{Attach: all.Flags()})
	if err != nil {
		t.Fatal(err)
	}
	// The program fills every buffer and waits.
	for before, now := "", "now"; before != now; {
		time.Sleep(100 * time.Millisecond)
		before, now = now, written(t, l.pid)
	}
	unix.Kill(l.pid, unix.SIGKILL)
	select {
	case e := <-l.done:
		if e.Code != 137 {
			t.Errorf("exit %+v", e)
		}
	case <-time.After(10 * time.Second):
		t.Error("a client that does not read keeps the container from being taken down")
	}
	l.Close()
}

// written is how much a process has written (proc_pid_io(5)).
func written(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	n, _, _ := strings.Cut(rest, "\n")
	return n
}

func TestAttachDetachAndWait(t *testing.T) {
	l, err := launch(t, "read x; echo got $x; read y; exit 9", Plan{})
	if err != nil {
		t.Fatal(err)
	}
	waiter, err := Connect(l.plan.Socket, Streams{})
	if err != nil {
		t.Fatal(err)
	}
	first, err := Connect(l.plan.Socket, all)
	if err != nil {
		t.Fatal(err)
	}
	detached := errors.New("detached")
	r, w := io.Pipe()
	go io.WriteString(w, "one\n")
	out := answered{then: func() { w.CloseWithError(detached) }}
	if _, err := first.Copy(r, &out, io.Discard); !errors.Is(err, detached) || out.String() != "got one\n" {
		t.Errorf("got %v, %q", err, out.String())
	}
	first.Close()
	second, err := Connect(l.plan.Socket, all)
	if err != nil {
		t.Fatal(err)
	}
	if code, err := second.Copy(strings.NewReader("two\n"), io.Discard, io.Discard); code != 9 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
	if code, err := waiter.Copy(nil, io.Discard, io.Discard); code != 9 || err != nil {
		t.Errorf("waiter: %d, %v", code, err)
	}
}

// answered calls then when it is written a whole line.
type answered struct {
	bytes.Buffer
	then func()
}

func (a *answered) Write(p []byte) (int, error) {
	if bytes.HasSuffix(p, []byte("\n")) {
		defer a.then()
	}
	return a.Buffer.Write(p)
}

func TestExec(t *testing.T) {
	l, err := launch(t, "exec sleep 60", Plan{ID: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	exec := func(id, file string) (int, error) {
		c, err := ConnectExec(l.plan.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := program.NewBuilder()
		var none [8]byte
		b.Call("unblock signals", unix.SYS_RT_SIGPROCMASK, program.Int(unix.SIG_SETMASK), program.Bytes(none[:]), program.Int(0), program.Int(8))
		b.Call("exec", unix.SYS_EXECVE, program.Str(file), program.At(b.Vector([]string{"sh", "-c", "exit 4"})), program.At(b.Vector(nil)))
		if err := Send(c.FD(), &Plan{ID: id, PIDNS: -1, Cgroup: -1, OwnMemory: true}, b.Program(), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.AwaitStart(); err != nil {
			return 0, err
		}
		return c.Copy(nil, io.Discard, io.Discard)
	}
	if code, err := exec("c1", "/bin/sh"); code != 4 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
	if _, err := exec("c1", "/nonexistent"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("missing program: %v", err)
	}
	if _, err := exec("c2", "/bin/sh"); err == nil {
		t.Error("a request for another container must be refused")
	}
	w, err := Connect(l.plan.Socket, Streams{})
	if err != nil {
		t.Fatal(err)
	}
	unix.Kill(l.pid, unix.SIGKILL)
	if code, err := w.Copy(nil, io.Discard, io.Discard); code != 137 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
}

func TestLauncherGone(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(pair[0])
	if plan, _ := Serve(pair[1], Hooks{}); plan != nil {
		t.Error("a monitor whose launcher is gone must end")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add(frame(frameAttach, 7, 0, 1, 0, 1))
	f.Add(append(frame(frameStdin, 'x'), frame(frameEOF)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Skip()
		}
		defer unix.Close(pair[0])
		defer unix.Close(pair[1])
		m := &loop{plan: &Plan{StdinOnce: true}, stdin: -1, master: -1, epoll: -1, listener: -1, out: [2]int{-1, -1}}
		c := &client{fd: pair[1]}
		m.clients = []*client{c}
		for len(in) > 0 && !c.dead {
			n, err := unix.Write(pair[0], in[:min(len(in), 4096)])
			if err != nil {
				return
			}
			in = in[n:]
			m.receive(c)
			if len(c.in) > frameHeader+maxPayload+4096 {
				t.Fatalf("%d bytes kept for a client", len(c.in))
			}
		}
	})
}
