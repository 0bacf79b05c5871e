package script

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a program with a terminal of its own, and the person before it.
type pty struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	cmd    *exec.Cmd

	mu   sync.Mutex
	text bytes.Buffer // what the screen has shown
	seen int          // up to where expect has read it
}

// openPTY opens a terminal of 24 rows and 80 columns (pty(7)).
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal("unlock the terminal: ", err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal("number of the terminal: ", err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close(); master.Close() })
	return master, slave
}

// onTerminal starts a program on a terminal.
func (b *bench) onTerminal(t *testing.T, args ...string) *pty {
	t.Helper()
	p := &pty{t: t, cmd: b.command(args...)}
	p.master, p.slave = openPTY(t)
	p.resize(24, 80)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.slave, p.slave, p.slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := p.master.Read(buf)
			p.mu.Lock()
			p.text.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return p
}

func (p *pty) resize(rows, cols uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		p.t.Fatal(err)
	}
}

// keys types.
func (p *pty) keys(s string) {
	p.t.Helper()
	if _, err := p.master.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// sees reports whether the screen shows a text that expect has not read yet.
func (p *pty) sees(want string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := strings.Index(p.text.String()[p.seen:], want)
	if i >= 0 {
		p.seen += i + len(want)
	}
	return i >= 0
}

func (p *pty) expect(want string) {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); !p.sees(want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("the screen does not show %q; it shows %q", want, p.text.String())
		}
	}
}

// ends waits for the program and checks its exit code, and that its terminal edits lines again.
func (p *pty) ends(code int) {
	p.t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			p.t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		p.t.Fatalf("%v does not end; the screen shows %q", p.cmd.Args, p.text.String())
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("%v ended with %d, want %d; the screen shows %q", p.cmd.Args, got, code, p.text.String())
	}
	mode, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	if mode.Lflag&unix.ICANON == 0 || mode.Lflag&unix.ECHO == 0 || mode.Lflag&unix.ISIG == 0 {
		p.t.Error("the terminal was left in raw mode")
	}
}

// bench is an engine of a test's own, with an image.
type bench struct{ dir string }

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	b.must(t, "import", "--change", `CMD ["sh"]`, busyboxTar, "bb")
	t.Cleanup(func() {
		if ids := strings.Fields(b.must(t, "ps", "-aq")); len(ids) > 0 {
			b.must(t, append([]string{"rm", "-f", "-v"}, ids...)...)
		}
		if err := settled(b.dir); err != nil {
			t.Error("left behind: ", err)
		}
	})
	return b
}

func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binaries+"/berth", args...)
	cmd.Env = append(os.Environ(), "BERTH_DATA_ROOT="+b.dir+"/data", "BERTH_STATE_ROOT="+b.dir+"/state", "TERM=xterm")
	return cmd
}

func (b *bench) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("berth %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

const (
	ctrlC  = "\x03"
	ctrlD  = "\x04"
	detach = "\x10\x11" // Ctrl-P Ctrl-Q
	prompt = "/ # "
)

// resized makes the terminal another size while a program in it, which has told
// that it runs, waits for that and for the signal that comes with it.
func (p *pty) resized(rows, cols uint16) {
	p.t.Helper()
	size := fmt.Sprintf("%d %d", rows, cols)
	p.keys(`sh -c 'trap "echo win=\$((1+1))" WINCH; echo runs=$((0+1)); until test "$(stty size)" = "` + size + `"; do sleep 0.02; done; echo size=$(stty size)'` + "\n")
	p.expect("runs=1")
	p.resize(rows, cols)
	p.expect("win=2")
	p.expect("size=" + size)
}

func TestTerminalRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.onTerminal(t, "run", "--rm", "-it", "bb")
	p.expect(prompt)
	p.keys("echo $((6*7)); tty; echo term=$TERM; stty size\n")
	p.expect("\r\n42\r\n")
	p.expect("/dev/pts/0")
	p.expect("term=xterm")
	p.expect("24 80")
	p.expect(prompt)
	// A new size of the window arrives inside, with its signal.
	p.resized(40, 100)
	p.expect(prompt)
	// Ctrl-C ends the program in the foreground, not the shell and not berth.
	p.keys("sh -c 'echo in=$((1+1)); exec sleep 100'\n")
	p.expect("in=2")
	p.keys(ctrlC)
	p.expect(prompt)
	p.keys("echo code=$?\n")
	p.expect("code=130")
	p.keys("exit 7\n")
	p.ends(7)
	if left := b.must(t, "ps", "-aq"); left != "" {
		t.Errorf("--rm left %s", left)
	}
}

func TestTerminalDetachAndAttach(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.onTerminal(t, "run", "-it", "--name", "shell", "bb")
	p.expect(prompt)
	p.keys("x=kept\n")
	p.expect(prompt)
	p.keys(detach)
	p.ends(0)
	if got := b.must(t, "inspect", "-f", "{{.State.Status}}", "shell"); got != "running" {
		t.Fatalf("after detaching it is %s", got)
	}
	// Attached again it is the same shell; other keys detach if asked.
	p = b.onTerminal(t, "attach", "--detach-keys", "ctrl-x,d", "shell")
	p.expect(prompt) // drawn anew
	p.keys("echo x=$x-\n")
	p.expect("\r\nx=kept-\r\n")
	p.keys(detach) // means nothing now
	p.keys("\x18d")
	p.ends(0)
	// Its end is the end of the attachment, with its code.
	p = b.onTerminal(t, "attach", "shell")
	p.expect(prompt)
	p.keys(ctrlC)
	p.expect(prompt)
	p.keys("exit 3\n")
	p.ends(3)
	// Started again it has a terminal again.
	p = b.onTerminal(t, "start", "-ai", "shell")
	p.expect(prompt)
	p.keys(ctrlD)
	p.ends(0)
}

func TestTerminalExec(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(t, "run", "-d", "--name", "base", "bb", "sleep", "300")
	p := b.onTerminal(t, "exec", "-it", "base", "sh")
	p.expect(prompt)
	p.keys("stty size; test -t 0 && test -t 1 && echo both=$((1+1))\n")
	p.expect("24 80")
	p.expect("both=2")
	p.expect(prompt)
	p.resized(30, 90)
	p.keys("exit 9\n")
	p.ends(9)
	// Detached, the program goes on.
	p = b.onTerminal(t, "exec", "-it", "base", "sh", "-c", "echo on; sleep 123456")
	p.expect("on")
	p.keys(detach)
	p.ends(0)
	if ps := b.must(t, "top", "base"); !strings.Contains(ps, "sleep 123456") {
		t.Errorf("after detaching: %s", ps)
	}
}

// TestTerminalOutputOnly: -t without -i shows colours and passes Ctrl-C on as a signal.
func TestTerminalOutputOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.onTerminal(t, "run", "--rm", "-t", "bb", "sh", "-c", `trap "echo bye; exit 6" INT; test -t 1 && echo is-tty; while :; do sleep 0.05; done`)
	p.expect("is-tty")
	p.keys(ctrlC)
	p.expect("bye")
	p.ends(6)
}

// TestTerminalSignal: a client that is told to end gives the terminal back as
// it was, and leaves the container running.
func TestTerminalSignal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.onTerminal(t, "run", "-it", "--name", "left", "bb")
	p.expect(prompt)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.ends(-1)
	b.must(t, "run", "-d", "--name", "base", "bb", "sleep", "300")
	p = b.onTerminal(t, "exec", "-it", "base", "sh")
	p.expect(prompt)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.ends(-1)
	if got := b.must(t, "ps", "--format", "{{.Names}}"); got != "base\nleft" {
		t.Errorf("running: %q", got)
	}
}

// TestTerminalGone: whoever closes the window leaves the container running.
func TestTerminalGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	p := b.onTerminal(t, "run", "-it", "--name", "left", "bb")
	p.expect(prompt)
	p.cmd.Process.Kill() // SIGKILL: nothing can be restored, and nothing else may break
	p.cmd.Wait()
	if got := b.must(t, "inspect", "-f", "{{.State.Status}}", "left"); got != "running" {
		t.Errorf("after the client's end it is %s", got)
	}
	q := b.onTerminal(t, "attach", "left")
	q.expect(prompt)
	q.keys("exit 0\n")
	q.ends(0)
}
