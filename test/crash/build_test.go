package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killedFile is a build with every kind of step. ROUND makes all but the base new.
const killedFile = `FROM scratch AS base
COPY . /
FROM base AS one
ARG ROUND
RUN echo one $ROUND > /one
COPY bin/busybox /copied
FROM base AS two
ARG ROUND
RUN --mount=type=cache,target=/c --mount=type=secret,id=s --mount=target=/m,rw echo $ROUND >> /c/n; cat /run/secrets/s > /two; echo x > /m/new
WORKDIR /made
FROM one
COPY --from=two /two /three
RUN --mount=type=tmpfs,target=/t sleep 0.02; cat /one /three > /all
CMD ["cat", "/all"]
`

// buildLab is a lab whose commands are builds.
type buildLab struct {
	*lab
	file, secret string
	round        int
}

func newBuildLab(t *testing.T) *buildLab {
	b := &buildLab{lab: newLab(t), file: filepath.Join(t.TempDir(), "Dockerfile"), secret: filepath.Join(t.TempDir(), "secret")}
	for path, text := range map[string]string{b.file: killedFile, b.secret: "hidden\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // before the lab's own
		b.berth("image", "rm", "-f", "built") // there may be none
		b.must("image", "prune", "-f")
		b.must("builder", "prune", "-af")
	})
	return b
}

// build is the command of the current round, of the binary that does builds:
// berth only hands over to it.
func (b *buildLab) build(flags ...string) *exec.Cmd {
	args := append([]string{"build", "--progress", "plain", "-t", "built", "-f", b.file, "--cgroup-parent", cgroupParent,
		"--secret", "id=s,src=" + b.secret, "--build-arg", "ROUND=" + strconv.Itoa(b.round)}, flags...)
	cmd := b.command(append(args, rootfs)...)
	cmd.Path, cmd.Args[0] = binary+"d", binary+"d"
	return cmd
}

// goesOn demands that after a death the next command finds nothing that still
// runs, that the next build works, and that nothing is left then.
func (b *buildLab) goesOn(when string) string {
	b.t.Helper()
	defer func() {
		if b.t.Failed() {
			b.t.Fatal(when)
		}
	}()
	b.must("ps", "-a")
	b.gone(b.running)
	r := b.run(b.build())
	if r.code != 0 {
		b.t.Fatalf("%s: the next build: exit code %d: %s", when, r.code, r.err)
	}
	b.gone(func() []string { return append(b.running(), b.unfinished()...) })
	if got, want := b.must("run", "--rm", "--network", "none", "built"), fmt.Sprintf("one %d\nhidden", b.round); got != want {
		b.t.Errorf("the image says %q, want %q", got, want)
	}
	return r.err
}

// running lists what is alive of builds: programs, mounts, groups, leases.
func (b *buildLab) running() (left []string) {
	for _, pattern := range []string{b.state + "/active/*", b.state + "/steps/*", b.state + "/network/endpoints/*", "/sys/fs/cgroup/*" + cgroupParent + "/*/", "/sys/fs/cgroup" + cgroupParent + "/*/"} {
		names, _ := filepath.Glob(pattern)
		left = append(left, names...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		b.t.Fatal(err)
	}
	for line := range bytes.Lines(mounts) {
		if at := string(bytes.Fields(line)[4]); strings.HasPrefix(at, b.state) || strings.HasPrefix(at, b.data+"/") {
			left = append(left, "mount "+at)
		}
	}
	return append(left, nurseries()...)
}

// nurseries lists the parents of build steps, which have berth's own mount namespace: this one.
func nurseries() (left []string) {
	ours, _ := os.Readlink("/proc/self/ns/net")
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		theirs, _ := os.Readlink(filepath.Dir(f) + "/ns/net")
		if bytes.HasPrefix(text, []byte("berth-")) && theirs == ours {
			left = append(left, fmt.Sprintf("process %s %q", filepath.Base(filepath.Dir(f)), text))
		}
	}
	return left
}

// unfinished lists what a build leaves in the store only while it lasts.
func (b *buildLab) unfinished() (left []string) {
	for _, pattern := range []string{"/overlay2/.draft-*", "/overlay2/.trash-*", "/build/tmp/*"} {
		names, _ := filepath.Glob(b.data + pattern)
		left = append(left, names...)
	}
	return left
}

// TestBuildKilledAtSystemCalls kills builds as they enter a system call.
func TestBuildKilledAtSystemCalls(t *testing.T) {
	b := newBuildLab(t)
	calls := []string{
		"mkdirat:1", "mkdirat:20", "mkdirat:50", "renameat:1", "renameat:4", "renameat2:1", "linkat:1", "symlinkat:2", "unlinkat:1", "unlinkat:9",
		"flock:3", "flock:12", "fsmount:1", "fsmount:4", "move_mount:1", "open_tree:1", "sendmsg:1", "sendmsg:3", "recvfrom:2", "setns:1", "unshare:1",
		"socketpair:1", "pipe2:2", "syncfs:1", "fsync:1", "utimensat:1", "copy_file_range:1", "umount2:1",
	}
	died := 0
	for _, call := range calls {
		b.round++
		name, n, _ := strings.Cut(call, ":")
		cmd := b.build()
		cmd.Args = append([]string{"strace", "-f", "-qq", "-b", "execve", "-o", "/dev/null", "-e", "trace=" + name, "-e", "inject=" + name + ":signal=KILL:when=" + n}, cmd.Args...)
		cmd.Path, cmd.Err = lookUp(t, "strace"), nil
		if r := b.run(cmd); r.code != 0 {
			died++
		}
		b.goesOn("a build killed at " + call)
	}
	if died < 15 {
		t.Errorf("only %d builds were killed: this test does not test what it should", died)
	}
}

// TestBuildKilledAtAnyTime kills builds, and now and then the parents of their
// programs as well, after a random time of up to what they take.
func TestBuildKilledAtAnyTime(t *testing.T) {
	b := newBuildLab(t)
	b.goesOn("nothing happened")
	b.round++
	begun := time.Now()
	if r := b.run(b.build()); r.code != 0 {
		t.Fatal(r.err)
	}
	whole := time.Since(begun)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range 12 {
		b.round++
		delay := time.Duration(random.Int64N(int64(whole)))
		cmd := b.build()
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(delay)
		pids := []int{cmd.Process.Pid}
		if i%3 == 0 {
			pids = append(pids, children(cmd.Process.Pid)...)
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		}
		cmd.Wait() //nolint:errcheck // it was killed
		b.goesOn(fmt.Sprintf("a build killed after %s (seed %d)", delay, seed))
	}
}

// TestKilledBuildGoesOn kills a build in its last step: the next one finds all
// others done.
func TestKilledBuildGoesOn(t *testing.T) {
	b := newBuildLab(t)
	slow := strings.Replace(killedFile, "sleep 0.02", "sleep $(cat /m/slow)", 1)
	slow = strings.Replace(slow, "--mount=type=tmpfs,target=/t", "--mount=type=tmpfs,target=/t --mount=from=how,target=/m", 1)
	how := t.TempDir()
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(b.file, slow)
	for _, nurseryToo := range []bool{false, true} {
		b.round++
		write(how+"/slow", "4321")
		cmd := b.build("--build-context", "how="+how)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		b.eventually("the last step runs", func() bool { return len(sleepers()) > 0 })
		pids := []int{cmd.Process.Pid}
		if nurseryToo {
			pids = append(pids, children(cmd.Process.Pid)...)
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		}
		cmd.Wait() //nolint:errcheck // it was killed
		if !nurseryToo {
			b.eventually("the nursery ends the program", func() bool { return len(sleepers()) == 0 })
		}
		b.must("ps")
		b.gone(b.running)
		if left := sleepers(); len(left) > 0 {
			t.Errorf("the program runs on: %v", left)
		}
		write(how+"/slow", "0")
		r := b.run(b.build("--build-context", "how="+how))
		if r.code != 0 {
			t.Fatal(r.err)
		}
		done := regexp.MustCompile(`(?m)^#\d+ CACHED$`).FindAllString(r.err, -1)
		if len(done) != 6 { // COPY, RUN, COPY; RUN, WORKDIR; COPY
			t.Errorf("%d steps were found done, want 6:\n%s", len(done), r.err)
		}
		b.gone(func() []string { return append(b.running(), b.unfinished()...) })
	}
}

// sleepers returns the programs that do not end by themselves.
func sleepers() (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if text, _ := os.ReadFile(f); bytes.HasPrefix(text, []byte("sleep\x004321")) {
			pids = append(pids, filepath.Base(filepath.Dir(f)))
		}
	}
	return pids
}
