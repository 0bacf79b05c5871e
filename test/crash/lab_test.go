package crash

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the berth under test, and rootfs a tree with Debian's busybox.
var binary, rootfs string

// isolated marks the second life of the test binary, inside namespaces.
const isolated = "BERTH_CRASH_ISOLATED"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getuid() != 0 {
		fmt.Println("the crash tests need root")
		return 1
	}
	if os.Getenv(isolated) == "" {
		cmd := exec.Command("unshare", append([]string{"--mount", "--net", "--propagation", "private", os.Args[0]}, os.Args[1:]...)...)
		cmd.Env = append(os.Environ(), isolated+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return 1
		}
		return 0
	}
	dir, err := os.MkdirTemp("", "berth-crash")
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	groups, _ := filepath.Glob("/sys/fs/cgroup/*" + cgroupParent)
	for _, g := range groups {
		if err := os.Remove(g); err != nil { // it has to be empty
			fmt.Println(err)
			code = 1
		}
	}
	return code
}

// cgroupParent is where some containers are told to be.
const cgroupParent = "/berth-crash"

// prepare builds the programs and the root filesystem.
func prepare(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { // one test runs as nobody
		return err
	}
	binary, rootfs = filepath.Join(dir, "berth"), filepath.Join(dir, "rootfs")
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("ip link: %w: %s", err, out)
	}
	build := exec.Command("go", "build", "-o", dir+"/", "berth/cmd/berth", "berth/cmd/berthd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(rootfs, d), 0o755); err != nil {
			return err
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("install busybox-static: %w", err)
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(rootfs+"/bin/busybox", data, 0o755); err != nil { //nolint:gosec // a program
		return err
	}
	for _, name := range strings.Fields("sh awk sleep echo cat true false kill seq dd yes ps nc wget") {
		if err := os.Symlink("busybox", rootfs+"/bin/"+name); err != nil {
			return err
		}
	}
	return os.WriteFile(rootfs+"/etc/motd", []byte("not a program\n"), 0o644)
}

// lab is one engine: roots of its own, which nothing else uses.
type lab struct {
	t           *testing.T
	data, state string
	layers      map[string]bool // what may be in overlay2: the image's
}

// newLab returns an engine that has the image "hello". When the test ends, all
// containers are removed and nothing may be left of them.
func newLab(t *testing.T) *lab {
	t.Helper()
	return newLabAt(t, filepath.Join(t.TempDir(), "data"))
}

func newLabAt(t *testing.T, data string) *lab {
	l := &lab{t: t, data: data, state: filepath.Join(t.TempDir(), "state"), layers: map[string]bool{}}
	l.must("run", "--rm", "--network", "none", "hello")
	l.settled()
	for _, name := range l.overlays() {
		l.layers[name] = true
	}
	t.Cleanup(func() {
		l.removeAll()
		l.settled()
		l.unwired()
	})
	return l
}

func (l *lab) removeAll() {
	if ids := strings.Fields(l.must("ps", "-aq")); len(ids) > 0 {
		l.must(append([]string{"rm", "-f"}, ids...)...)
	}
}

// result is what a command did.
type result struct {
	code     int
	out, err string
	took     time.Duration
}

func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "BERTH_DATA_ROOT="+l.data, "BERTH_STATE_ROOT="+l.state)
	return cmd
}

// limit is how long a command may take: longer is a hang.
const limit = 30 * time.Second

// run runs a command to its end. What it prints comes through pipes, which would
// stay open if anything that it leaves behind had inherited them: nothing may.
func (l *lab) run(cmd *exec.Cmd) result {
	l.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, 10*time.Second
	began := time.Now()
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	hang := time.AfterFunc(limit, func() { cmd.Process.Signal(syscall.SIGQUIT) }) //nolint:errcheck // it may have ended
	err := cmd.Wait()
	if !hang.Stop() {
		l.t.Errorf("%v hung; %s", cmd.Args[1:], errs.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		l.t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String(), time.Since(began)}
}

func (l *lab) berth(args ...string) result {
	l.t.Helper()
	return l.run(l.command(args...))
}

// must is berth for what cannot fail. It returns what was printed, without the last newline.
func (l *lab) must(args ...string) string {
	l.t.Helper()
	r := l.berth(args...)
	if r.code != 0 {
		l.t.Fatalf("berth %s: exit code %d: %s", strings.Join(args, " "), r.code, r.err)
	}
	return strings.TrimSuffix(r.out, "\n")
}

// sh are the arguments of a run of a shell script in the busybox tree.
func sh(flags []string, script string) []string {
	return append(append([]string{"run"}, flags...), "--rootfs", rootfs, "sh", "-c", script)
}

// inspect returns one field of a container.
func (l *lab) inspect(name, format string) string {
	l.t.Helper()
	return l.must("inspect", "-f", format, name)
}

// eventually waits until cond is true.
func (l *lab) eventually(what string, cond func() bool) {
	l.t.Helper()
	for end := time.Now().Add(limit); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("still not so after %s: %s", limit, what)
		}
	}
}
