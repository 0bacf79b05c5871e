package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/capability"
	"berth/internal/linux/rootpath"
	"berth/internal/storage/snapshot"
)

// TestMain lets the test binary play the nursery, as berth does, and a builder
// that is killed.
func TestMain(m *testing.M) {
	if code, ok := Role(os.Args); ok {
		os.Exit(code)
	}
	if len(os.Args) > 1 {
		if f, ok := stepActors[os.Args[1]]; ok {
			os.Exit(f(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// isolated runs the test a second time, in mount and network namespaces of its
// own, and reports whether this is that second time.
func isolated(t *testing.T) bool {
	t.Helper()
	const mark = "BERTH_STEP_ISOLATED"
	if os.Getenv(mark) != "" {
		return true
	}
	needRoot(t)
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command("unshare", "--mount", "--net", "--propagation", "private", exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), mark+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// stepBed is an engine over a base layer that holds Debian's busybox.
type stepBed struct {
	testing.TB
	e    *Engine
	base string // a layer
	dir  string
}

// stepGroups is the cgroup parent of all steps here.
const stepGroups = "/berth-step-test"

func newStepBed(t testing.TB) *stepBed {
	t.Helper()
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := &stepBed{TB: t, dir: t.TempDir()}
	b.e = b.open()
	d, err := b.e.snapshots.Begin("")
	must(t, err)
	fillStepRoot(t, d.Dir())
	b.base, err = d.CommitUnsynced(t.Context())
	must(t, err)
	t.Cleanup(b.clean)
	return b
}

func (b *stepBed) open() *Engine {
	e, err := Open(context.Background(), Options{DataRoot: b.dir + "/data", StateRoot: b.dir + "/state"})
	must(b, err)
	return e
}

func fillStepRoot(t testing.TB, root string) {
	t.Helper()
	for _, d := range []string{"bin", "etc", "tmp", "root", "home/web"} {
		must(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs busybox-static")
	}
	must(t, os.WriteFile(root+"/bin/busybox", busybox, 0o755)) //nolint:gosec // a program
	must(t, os.WriteFile(root+"/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(root+"/etc/group", []byte("root:x:0:\nweb:x:1001:\nvideo:x:27:web\n"), 0o644))
	must(t, os.WriteFile(root+"/bin/noexec", []byte("text"), 0o644))
	for _, name := range strings.Fields("sh sleep echo cat ls id pwd mount umount hostname stat rm mkdir ln mv touch dd ip env chmod chown df find tail grep true seq nc kill awk") {
		must(t, os.Symlink("busybox", root+"/bin/"+name))
	}
}

// clean checks that nothing is left of the steps.
func (b *stepBed) clean() {
	b.e.nursery.end()
	for _, glob := range []string{"/state/steps/*", "/state/active/*", "/data/containers/*", "/data/overlay2/.draft-*", "/state/network/endpoints/*", "/state/network/bridge/*"} {
		if left, _ := filepath.Glob(b.dir + glob); len(left) > 0 {
			b.Errorf("left behind: %v", left)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(b, err)
	if bytes.Contains(mounts, []byte(b.dir)) {
		b.Errorf("a mount is left behind:\n%s", mounts)
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*" + stepGroups)
	for _, g := range append(groups, "/sys/fs/cgroup"+stepGroups) {
		if err := os.Remove(g); err != nil && !errors.Is(err, os.ErrNotExist) { // it has to be empty
			b.Error(err)
		}
	}
	// The kernel removes a cable some time after the last process of its namespace.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		out, err := exec.Command("ip", "-o", "link").Output()
		must(b, err)
		if !bytes.Contains(out, []byte("veth")) {
			break
		}
		if time.Now().After(end) {
			b.Errorf("a cable is left behind:\n%s", out)
			break
		}
	}
}

// draft begins a layer on parent and mounts it for the request.
func (b *stepBed) draft(parent string, r *StepRequest) *snapshot.Draft {
	b.Helper()
	d, err := b.e.snapshots.Begin(parent)
	must(b, err)
	b.Cleanup(func() {
		if err := d.Discard(); err != nil {
			b.Error(err)
		}
	})
	r.Root, err = d.Mount(b.Context(), stepPoints(b, r)...)
	must(b, err)
	return d
}

func stepPoints(t testing.TB, r *StepRequest) (points []snapshot.MountPoint) {
	for _, m := range r.Mounts {
		file := !m.Tmpfs
		if m.Source != nil {
			st, err := statPart(m.Source, m.Path)
			must(t, err)
			file = st.Mode&unix.S_IFMT != unix.S_IFDIR
		}
		points = append(points, snapshot.MountPoint{Path: m.Target, File: file})
	}
	return points
}

// statPart describes what lies at path below f; an empty path is f itself.
func statPart(f *os.File, path string) (st unix.Stat_t, err error) {
	if path != "" {
		return rootpath.Stat(f, path)
	}
	return st, unix.Fstat(int(f.Fd()), &st)
}

// complete fills what every step of these tests has.
func (r *StepRequest) complete() {
	r.Resources.CgroupParent = stepGroups
	if r.NetworkMode == "" {
		r.NetworkMode = "none"
	}
}

// sh runs a shell script on the base and returns what it said.
func (b *stepBed) sh(script string, r StepRequest) (out string, res StepResult, d *snapshot.Draft) {
	b.Helper()
	r.Args = []string{"/bin/sh", "-c", script}
	return b.run(b.base, r)
}

func (b *stepBed) run(parent string, r StepRequest) (out string, res StepResult, d *snapshot.Draft) {
	b.Helper()
	var said bytes.Buffer
	r.complete()
	r.Stdout, r.Stderr = &said, b.Output()
	d = b.draft(parent, &r)
	res, err := b.e.Containers.RunStep(b.Context(), r)
	if err != nil {
		b.Fatalf("%v: %v", r.Args, err)
	}
	return said.String(), res, d
}

// fails runs a step that has to be refused.
func (b *stepBed) fails(kind error, r StepRequest) error {
	b.Helper()
	r.complete()
	b.draft(b.base, &r)
	res, err := b.e.Containers.RunStep(b.Context(), r)
	if !errors.Is(err, kind) {
		b.Errorf("%v: got %+v, %v; want %v", r.Args, res, err, kind)
	}
	return err
}

// commit makes the draft a layer and returns the names in it.
func (b *stepBed) commit(d *snapshot.Draft) (id, names string) {
	b.Helper()
	id, err := d.CommitUnsynced(b.Context())
	must(b, err)
	dir := b.e.snapshots.Diff(id)
	must(b, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = strings.TrimSpace(names + " " + strings.TrimPrefix(path, dir))
		return err
	}))
	return id, names
}

func TestStep(t *testing.T) {
	if !isolated(t) {
		return
	}
	b := newStepBed(t)
	for name, f := range map[string]func(*stepBed){
		"Ends": testStepEnds, "Refused": testStepRefused, "Rights": testStepRights, "User": testStepUser, "Dir": testStepDir, "Output": testStepOutput,
		"Mounts": testStepMounts, "Parts": testStepParts, "Secrets": testStepSecrets, "Stubs": testStepStubs, "Networks": testStepNetworks,
		"Limits": testStepLimits, "Cancel": testStepCancel, "Parallel": testStepParallel, "Executable": testStepExecutable,
		"Descriptors": testStepDescriptors, "Terminal": testStepTerminal, "BuilderKilled": testBuilderKilled, "NurseryKilled": testNurseryKilled,
	} {
		t.Run(name, func(t *testing.T) { f(&stepBed{t, b.e, b.base, b.dir}) })
	}
}

func testStepEnds(b *stepBed) {
	for script, want := range map[string]int{"true": 0, "exit 3": 3, "exit 255": 255, "nothing-of-that-name": 127} {
		if _, res, _ := b.sh(script, StepRequest{}); res.ExitCode != want || res.Signal != 0 || res.OOMKilled {
			b.Errorf("%q: %+v, want %d", script, res, want)
		}
	}
	_, res, _ := b.sh("(sleep 1000 &) ; (sleep 1000 &); exit 4", StepRequest{}) // those left behind die with PID 1
	if res.ExitCode != 4 {
		b.Errorf("with children left behind: %+v", res)
	}
	if got, err := b.e.Containers.List(b.Context(), ListOptions{All: true}); err != nil || len(got) != 0 {
		b.Errorf("steps are listed: %v, %v", got, err)
	}
}

// A long build must not run out of descriptors, whether its steps work or not.
func testStepDescriptors(b *stepBed) {
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		must(b, err)
		return len(names)
	}
	once := func() {
		r := StepRequest{NetworkMode: "default", Mounts: []StepMount{{Target: "/s", Data: []byte("s")}, {Target: "/t", Tmpfs: true}, {Target: "/b", Source: b.openPath("/etc")}}}
		_, _, d := b.sh("echo", r)
		b.commit(d)
		r.Args = []string{"no-such-program"}
		r.complete()
		for _, source := range []string{"/etc", "/etc/passwd"} { // the second one cannot be mounted on a directory
			d, err := b.e.snapshots.Begin(b.base)
			must(b, err)
			r.Root, err = d.Mount(b.Context(), stepPoints(b, &r)...)
			must(b, err)
			r.Mounts[2].Source = b.openPath(source)
			if _, err := b.e.Containers.RunStep(b.Context(), r); err == nil {
				b.Error("the step ran")
			}
			must(b, d.Discard())
		}
	}
	once()
	before := open()
	for range 3 {
		once()
	}
	after := open()
	for end := time.Now().Add(10 * time.Second); after > before+9 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		after = open() // a goroutine may not have got to closing the last
	}
	if after > before+9 { // those that the test keeps open itself
		b.Errorf("%d descriptors were open, then %d", before, after)
	}
}

func testStepRefused(b *stepBed) {
	b.fails(errdefs.NoCommand, StepRequest{Args: []string{"no-such-program"}})
	b.fails(errdefs.NoCommand, StepRequest{Args: []string{"/no/such/program"}})
	b.fails(errdefs.NotExecutable, StepRequest{Args: []string{"/bin/noexec"}})
	b.fails(errdefs.InvalidArgument, StepRequest{})
	b.fails(errdefs.InvalidArgument, StepRequest{Args: []string{"true"}, ID: "short"})
	b.fails(errdefs.InvalidArgument, StepRequest{Args: []string{"true"}, ID: b.base}) // it would be taken down as a step
	b.fails(errdefs.InvalidArgument, StepRequest{Args: []string{"true"}, User: "nobody-of-that-name"})
	b.fails(errdefs.InvalidArgument, StepRequest{Args: []string{"true"}, Dir: "relative"})
	b.fails(errdefs.NotFound, StepRequest{Args: []string{"true"}, NetworkMode: "lan"})
	b.fails(errdefs.InvalidArgument, StepRequest{Args: []string{"true"}, NetworkMode: "container:x"})
	for _, target := range []string{"relative", "/", "/tmp/..", ""} {
		b.fails(errdefs.InvalidArgument, StepRequest{Args: []string{"true"}, Mounts: []StepMount{{Target: target, Tmpfs: true}}})
	}
	b.fails(errdefs.InvalidArgument, StepRequest{Args: []string{"true"}, Mounts: []StepMount{{Target: "/tmp", Tmpfs: true}, {Target: "/tmp/", Tmpfs: true}}})
	if _, err := b.e.Containers.RunStep(b.Context(), StepRequest{Args: []string{"true"}}); !errors.Is(err, errdefs.InvalidArgument) {
		b.Errorf("without a root: %v", err)
	}
	// A tree without the places to mount on stays as it is.
	root := b.TempDir()
	fillStepRoot(b, root)
	f, err := os.Open(root)
	must(b, err)
	defer f.Close()
	r := StepRequest{Root: f, Args: []string{"true"}}
	r.complete()
	if _, err := b.e.Containers.RunStep(b.Context(), r); !errors.Is(err, errdefs.InvalidArgument) {
		b.Errorf("without mount points: %v", err)
	}
	if _, err := os.Lstat(root + "/proc"); err == nil {
		b.Error("a mount point was made in the tree")
	}
	// With them, any directory serves.
	for _, d := range []string{"/proc", "/sys", "/dev"} {
		must(b, os.Mkdir(root+d, 0o755))
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		must(b, os.WriteFile(root+"/etc/"+name, nil, 0o644))
	}
	r.Args = []string{"touch", "/made"}
	if res, err := b.e.Containers.RunStep(b.Context(), r); err != nil || res.ExitCode != 0 {
		b.Errorf("in a plain directory: %+v, %v", res, err)
	}
	if _, err := os.Lstat(root + "/made"); err != nil {
		b.Error(err)
	}
}

// status returns a line of /proc/self/status.
func status(text, key string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, key+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func testStepRights(b *stepBed) {
	b.Setenv("HOST_SECRET", "of the builder")
	out, _, _ := b.sh("cat /proc/self/status; echo; env; ls -d /proc/[0-9]*; ls -l /proc/self/fd; mount | grep ' on /sys '", StepRequest{Env: []string{"A=b c"}})
	caps := fmt.Sprintf("%016x", uint64(capability.Default()))
	for key, want := range map[string]string{"CapEff": caps, "CapPrm": caps, "CapBnd": caps, "CapInh": "0000000000000000", "CapAmb": "0000000000000000", "Seccomp": "2"} {
		if got := status(out, key); got != want {
			b.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	for _, want := range []string{"A=b c", "HOME=/root", "HOSTNAME=buildkitsandbox", "PATH=/usr/local/sbin:", "(ro,"} {
		if !strings.Contains(out, want) {
			b.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "HOST_SECRET") || strings.Contains(out, " 4 -> ") {
		b.Errorf("something of the host is in\n%s", out)
	}
	if _, res, _ := b.sh("umount /proc/sys || mount -t tmpfs x /tmp || echo 1 > /proc/sys/kernel/panic || ls /sys/firmware/* || cat /proc/keys | grep .", StepRequest{}); res.ExitCode == 0 {
		b.Error("a step may do what a container may not")
	}
	out, res, _ := b.sh("cat /proc/self/status; mount -t tmpfs x /tmp && ls /dev/kmsg", StepRequest{Insecure: true})
	held, err := capability.Held()
	must(b, err)
	if got := status(out, "CapEff"); got != fmt.Sprintf("%016x", uint64(held)) || status(out, "Seccomp") != "0" || res.ExitCode != 0 {
		b.Errorf("insecure: CapEff %s, %+v\n%s", got, res, out)
	}
}

func testStepUser(b *stepBed) {
	for user, want := range map[string]string{
		"": "uid=0(root) gid=0(root) groups=0(root) /root", "web": "uid=1000(web) gid=1001(web) groups=27(video),1001(web) /home/web",
		"web:video": "uid=1000(web) gid=27(video) groups=27(video) /home/web", "1234:5": "uid=1234 gid=5 groups=5 /",
	} {
		out, _, _ := b.sh("echo $(id) $HOME; awk '/CapEff/ {print $2}' /proc/self/status", StepRequest{User: user})
		if lines := strings.Split(out, "\n"); lines[0] != want || user != "" && lines[1] != "0000000000000000" {
			b.Errorf("%q: %q, want %q", user, lines, want)
		}
	}
}

func testStepDir(b *stepBed) {
	out, res, d := b.sh("pwd; stat -c %u:%g:%a . .. ; touch file", StepRequest{Dir: "/work/here", User: "web"})
	if want := "/work/here\n1000:1001:755\n1000:1001:755\n"; out != want || res.ExitCode != 0 {
		b.Errorf("got %q, %+v, want %q", out, res, want)
	}
	id, names := b.commit(d)
	if names != "/work /work/here /work/here/file" {
		b.Errorf("the layer holds %s", names)
	}
	// What exists keeps its owner.
	if out, _, _ := b.run(id, StepRequest{Args: []string{"stat", "-c", "%u", "."}, Dir: "/work/here"}); out != "1000\n" {
		b.Errorf("an existing directory belongs to %q", out)
	}
	if out, _, d = b.sh("stat -c %u .", StepRequest{Dir: "/tmp", User: "web"}); out != "0\n" {
		b.Errorf("an existing directory belongs to %q", out)
	}
	if _, names := b.commit(d); names != "" {
		b.Errorf("the layer holds %s", names)
	}
	for fd := range 20 { // CVE-2024-21626
		r := StepRequest{Args: []string{"pwd"}, Dir: "/proc/self/fd/" + strconv.Itoa(3+fd)}
		r.complete()
		b.draft(b.base, &r)
		if res, err := b.e.Containers.RunStep(b.Context(), r); err == nil {
			b.Errorf("%s: %+v", r.Dir, res)
		}
	}
}

// failingWriter takes a few bytes and no more.
type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errors.New("no more")
	}
	return len(p), nil
}

func testStepOutput(b *stepBed) {
	file, err := os.Create(filepath.Join(b.TempDir(), "out"))
	must(b, err)
	defer file.Close()
	var buf bytes.Buffer
	r := StepRequest{Args: []string{"sh", "-c", "cat; echo out; echo err >&2; seq 100000 >&2"}, Stdout: file, Stderr: &buf}
	r.complete()
	b.draft(b.base, &r)
	if _, err := b.e.Containers.RunStep(b.Context(), r); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(file.Name())
	must(b, err)
	if _, err := file.WriteString("still open"); err != nil {
		b.Error(err)
	}
	if string(text) != "out\n" || !strings.HasPrefix(buf.String(), "err\n1\n2\n") || !strings.HasSuffix(buf.String(), "\n99999\n100000\n") {
		b.Errorf("out %q, err %d bytes", text, buf.Len())
	}
	r.Stdout, r.Stderr = &failingWriter{1000}, nil
	r.Args = []string{"sh", "-c", "seq 100000; touch /ended"}
	d := b.draft(b.base, &r)
	if _, err := b.e.Containers.RunStep(b.Context(), r); err == nil || !strings.Contains(err.Error(), "no more") {
		b.Errorf("a writer that fails: %v", err)
	}
	if _, err := os.Stat(d.Dir() + "/ended"); err != nil {
		b.Error("the program did not run to its end")
	}
}

// open opens what a mount shows.
func (b *stepBed) openPath(path string) *os.File {
	b.Helper()
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(b, err)
	f := os.NewFile(uintptr(fd), path)
	b.Cleanup(func() { f.Close() })
	return f
}

func testStepMounts(b *stepBed) {
	dir := b.TempDir()
	must(b, os.WriteFile(dir+"/file", []byte("of the source"), 0o644))
	// A mount below the source is shown too, and is as read-only as it.
	must(b, os.Mkdir(dir+"/below", 0o755))
	must(b, unix.Mount("tmpfs", dir+"/below", "tmpfs", 0, ""))
	defer unix.Unmount(dir+"/below", 0)
	must(b, os.WriteFile(dir+"/below/x", nil, 0o644))
	src := b.openPath(dir)
	out, _, d := b.sh(`cat /in/file; ls /in/below; touch /in/no /in/below/no || echo ro; touch /cache/yes; cat /etc/conf; df -P /mem | tail -n 1 | awk '{print $2}'; touch /mem/x; stat -c %a /mem`,
		StepRequest{Mounts: []StepMount{
			{Target: "/in", Source: src, ReadOnly: true}, {Target: "/cache", Source: src},
			{Target: "/etc/conf", Source: b.openPath(dir + "/file"), ReadOnly: true}, {Target: "/mem", Tmpfs: true, Size: 1 << 20},
		}})
	if want := "of the sourcex\nro\nof the source1024\n1777\n"; out != want {
		b.Errorf("got %q, want %q", out, want)
	}
	if _, err := os.Stat(dir + "/yes"); err != nil {
		b.Error(err)
	}
	if _, names := b.commit(d); names != "" {
		b.Errorf("the layer holds %s", names)
	}
	// A socket, as ssh's agent has one.
	ln, err := net.Listen("unix", dir+"/agent.sock")
	must(b, err)
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "the agent")
			c.Close()
		}
	}()
	exe, err := os.Executable()
	must(b, err)
	out, _, d = b.run(b.base, StepRequest{Args: []string{"/actor", "talk", "/run/agent.0"}, Mounts: []StepMount{
		{Target: "/run/agent.0", Source: b.openPath(dir + "/agent.sock")}, {Target: "/actor", Source: b.openPath(exe), ReadOnly: true},
	}})
	if out != "the agent" {
		b.Errorf("through the socket: %q", out)
	}
	if _, names := b.commit(d); names != "" {
		b.Errorf("the layer holds %s", names)
	}
	// In a mount, targets that are missing are made: there they are nobody's layer.
	out, _, d = b.sh("ls /cache/deep/er; touch /cache/deep/er/x", StepRequest{Mounts: []StepMount{{Target: "/cache", Source: src}, {Target: "/cache/deep/er", Tmpfs: true}}})
	if _, names := b.commit(d); out != "" || names != "" {
		b.Errorf("out %q, layer %q", out, names)
	}
}

// A mount shows a part of a tree, and a hostile tree leads no further than itself.
func testStepParts(b *stepBed) {
	canary := b.TempDir()
	must(b, os.WriteFile(canary+"/app", []byte("of the host"), 0o644))
	_, _, d := b.sh("mkdir -p /out/bin; echo built > /out/bin/app; ln -s "+canary+" /evil; ln -s /out/bin /link; mkdir "+filepath.Dir(canary)+" -p; ln -s ../../../../../../.. /up", StepRequest{})
	id, _ := b.commit(d)
	tree, err := b.e.snapshots.MountTree(b.Context(), id)
	must(b, err)
	defer tree.Close()
	for path, want := range map[string]string{"/out/bin": "built\n", "link": "built\n", "/up/out/bin/": "built\n"} {
		tree, err := b.e.snapshots.MountTree(b.Context(), id) // before Linux 6.15 each serves once
		must(b, err)
		defer tree.Close()
		out, _, d := b.sh("cat /app/app; touch /app/x", StepRequest{Mounts: []StepMount{{Target: "/app", Source: tree, Path: path, ReadOnly: true}}})
		if _, names := b.commit(d); out != want || names != "" {
			b.Errorf("%s: %q, layer %q", path, out, names)
		}
	}
	for _, path := range []string{"/evil", "/nothing"} {
		r := StepRequest{Args: []string{"ls", "/app"}}
		r.complete()
		b.draft(b.base, &r)
		r.Mounts = []StepMount{{Target: "/app", Source: tree, Path: path}}
		if _, err := b.e.Containers.RunStep(b.Context(), r); !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errdefs.NotFound) {
			b.Errorf("%s: %v", path, err)
		}
	}
}

func testStepSecrets(b *stepBed) {
	secret := []byte("s3cr3t-" + strconv.Itoa(os.Getpid()) + "-bytes")
	big := bytes.Repeat([]byte("0123456789abcdef"), 500<<10/16)
	out, _, d := b.sh(`cat /run/secrets/key; stat -c ' %a %u:%g' /run/secrets/key; stat -c %s /root/.big; (echo x > /run/secrets/key) 2>&- || echo ro; mount | grep secrets; ls -a /root`,
		StepRequest{Mounts: []StepMount{{Target: "/run/secrets/key", Data: secret, Mode: 0o440, UID: 1000, GID: 27}, {Target: "/root/.big", Data: big, Mode: 0o400}}})
	if !strings.HasPrefix(out, string(secret)+" 440 1000:27\n512000\nro\ntmpfs on /run/secrets/key type tmpfs (ro,nosuid,nodev,noexec,") {
		b.Errorf("the program saw %q", out)
	}
	if _, names := b.commit(d); names != "" {
		b.Errorf("the layer holds %s", names)
	}
	if out, err := exec.Command("grep", "-rl", "--", string(secret), b.dir).CombinedOutput(); len(out) != 0 || err == nil {
		b.Errorf("the secret lies in %s", out)
	}
	if out, _, _ := b.sh("cat /run/secrets/key", StepRequest{User: "web", Mounts: []StepMount{{Target: "/run/secrets/key", Data: secret, Mode: 0o400}}}); out != "" {
		b.Errorf("a user read %q", out)
	}
	// A script of the Dockerfile's own, in a directory that only the mount needs.
	out, _, d = b.run(b.base, StepRequest{Args: []string{"/dev/pipes/EOF"}, Mounts: []StepMount{{Target: "/dev/pipes/EOF", Data: []byte("#!/bin/sh\necho $0\n"), Mode: 0o755}}})
	if _, names := b.commit(d); out != "/dev/pipes/EOF\n" || names != "" {
		b.Errorf("the script said %q, the layer holds %s", out, names)
	}
	if out, _, _ := b.sh("cat /run/secrets/key | grep -c .", StepRequest{Mounts: []StepMount{{Target: "/run/secrets/key", Mode: 0o400}}}); out != "0\n" {
		b.Errorf("an empty secret has %q lines", out)
	}
}

// Nothing has to be removed from the tree after a step, whatever the program
// has put where its mounts were (CVE-2024-23652).
func testStepStubs(b *stepBed) {
	canary := b.TempDir()
	must(b, os.MkdirAll(canary+"/sub/y/z", 0o755)) // empty, and of the mount points' names
	must(b, os.WriteFile(canary+"/sub/y/file", nil, 0o644))
	look := func() string {
		out, err := exec.Command("find", canary, "-printf", `%p %T@\n`).Output()
		must(b, err)
		return string(out)
	}
	before := look()
	mounts := []StepMount{{Target: "/x/y/z", Tmpfs: true}, {Target: "/x/y/file", Data: []byte("secret")}}
	for _, insecure := range []bool{false, true} {
		out, _, d := b.sh("umount /x/y/z; umount /x/y/file; umount /etc/hosts; mv /x /old; rm -rf /x /etc/hosts; ln -s "+canary+"/sub /x; ln -s "+canary+"/none /etc/hosts; touch /done", StepRequest{Mounts: mounts, Insecure: insecure})
		id, names := b.commit(d)
		target, _ := os.Readlink(b.e.snapshots.Diff(id) + "/x") // only with all rights can it take its mounts away
		if !strings.Contains(names, "/done") || strings.Contains(names+" ", " /x/y") || insecure != (target != "") {
			b.Errorf("insecure %v: said %q, the layer holds %s, /x leads to %q", insecure, out, names, target)
		}
	}
	if after := look(); after != before {
		b.Errorf("the host's directory changed:\n%s\n%s", before, after)
	}

	// What is written beside a mount point stays, and the mount point does not.
	_, _, d := b.sh("echo x > /x/y/own; stat -c %Y /etc > /time; touch /etc/new", StepRequest{Mounts: mounts})
	id, names := b.commit(d)
	if names != "/etc /etc/new /time /x /x/y /x/y/own" {
		b.Errorf("the layer holds %s", names)
	}
	// Directories that hold mount points look as they do without them.
	st, err := os.Stat(b.e.snapshots.Diff(b.base) + "/etc")
	must(b, err)
	if text, err := os.ReadFile(b.e.snapshots.Diff(id) + "/time"); err != nil || string(text) != strconv.FormatInt(st.ModTime().Unix(), 10)+"\n" {
		b.Errorf("the time of /etc is %q, %v; want %v", text, err, st.ModTime())
	}
}

func testStepNetworks(b *stepBed) {
	const look = "ip -4 -o addr; cat /etc/resolv.conf /etc/hosts; hostname; cat /etc/hostname; ip route"
	out, _, _ := b.sh(look, StepRequest{NetworkMode: "none", ExtraHosts: []string{"db:10.1.2.3"}, Hostname: "builder"})
	if strings.Contains(out, "eth0") || !strings.Contains(out, "10.1.2.3\tdb") || !strings.Contains(out, "\nbuilder\nbuilder\n") || !strings.Contains(out, "127.0.0.1/8") {
		b.Errorf("none:\n%s", out)
	}
	out, res, d := b.sh(look+"; nc -w 5 $(ip route | awk '/default/ {print $3}') 9 2>&1", StepRequest{NetworkMode: "default", DNS: []string{"192.0.2.53"}, DNSSearch: []string{"example.org"}, DNSOptions: []string{"ndots:2"}})
	if !regexp.MustCompile(`eth0 +inet 172\.17\.`).MatchString(out) || !strings.Contains(out, "nameserver 192.0.2.53") || !strings.Contains(out, "search example.org") ||
		!strings.Contains(out, "ndots:2") || !strings.Contains(out, "\n127.0.0.1\tbuildkitsandbox") || strings.Contains(out, "host.docker.internal") || !strings.Contains(out, "Connection refused") {
		b.Errorf("default: %+v\n%s", res, out)
	}
	if _, names := b.commit(d); names != "" {
		b.Errorf("the layer holds %s", names)
	}
	out, _, _ = b.sh("cat /etc/hosts", StepRequest{NetworkMode: "default", ExtraHosts: []string{"me:host-gateway"}})
	if !regexp.MustCompile(`(?m)^172\.17\.[0-9.]+\tme$`).MatchString(out) {
		b.Errorf("host-gateway:\n%s", out)
	}
	out, _, d = b.sh(look+"; echo 10.0.0.1 x >> /etc/hosts; echo >> /etc/resolv.conf", StepRequest{NetworkMode: "host", ExtraHosts: []string{"db:10.1.2.3"}})
	if !strings.Contains(out, "br-") || !strings.Contains(out, "10.1.2.3\tdb") || !strings.Contains(out, "nameserver") {
		b.Errorf("host:\n%s", out)
	}
	if _, names := b.commit(d); names != "" { // they are mounts: what is written to them is lost
		b.Errorf("the layer holds %s", names)
	}
}

func testStepLimits(b *stepBed) {
	pids := int64(33)
	res := container.Resources{Memory: 32 << 20, PidsLimit: &pids, Ulimits: []container.Ulimit{{Name: "nofile", Soft: 77, Hard: 78}}}
	out, r, _ := b.sh("ulimit -n; ulimit -Hn; df -P /dev/shm | tail -n 1 | awk '{print $2}'; cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>&-", StepRequest{Resources: res, ShmSize: 100 << 20})
	if out != "77\n78\n102400\n33\n" || r.OOMKilled {
		b.Errorf("got %q, %+v", out, r)
	}
	_, r, _ = b.sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=90 2>&-", StepRequest{Resources: res, ShmSize: 100 << 20})
	if !r.OOMKilled || r.ExitCode != 137 {
		b.Errorf("out of memory in a child: %+v", r)
	}
	_, r, _ = b.run(b.base, StepRequest{Args: []string{"dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=90"}, Resources: res, ShmSize: 100 << 20})
	if !r.OOMKilled || r.ExitCode != 137 || r.Signal != 9 {
		b.Errorf("out of memory in PID 1: %+v", r)
	}
}

func testStepCancel(b *stepBed) {
	ctx, cancel := context.WithCancelCause(b.Context())
	why := errors.New("the user is tired of waiting")
	r := StepRequest{Args: []string{"sh", "-c", "echo begun; sleep 1000 & sleep 1000"}}
	r.Stdout = writerFunc(func(p []byte) (int, error) {
		cancel(why)
		return len(p), nil
	})
	r.complete()
	b.draft(b.base, &r)
	begun := time.Now()
	if res, err := b.e.Containers.RunStep(ctx, r); !errors.Is(err, why) {
		b.Errorf("got %+v, %v", res, err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		b.Errorf("it took %v", took)
	}
	b.draft(b.base, &r)
	if _, err := b.e.Containers.RunStep(ctx, r); !errors.Is(err, why) {
		b.Errorf("cancelled before: %v", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// testStepParallel has steps that all wait for each other, so that each has an
// address while the others have theirs.
func testStepParallel(b *stepBed) {
	var wg sync.WaitGroup
	seen := make([]string, 8)
	met := b.openPath(b.TempDir())
	for i := range seen {
		wg.Go(func() {
			var said bytes.Buffer
			r := StepRequest{
				Args: []string{"sh", "-c", "cat /id; ip -4 -o addr show eth0 | awk '{print $4}'; > /met/$(cat /id); while test $(ls /met | wc -l) -lt 8; do sleep 0.01; done; exit " + strconv.Itoa(i)}, NetworkMode: "default", Stdout: &said,
				Mounts: []StepMount{{Target: "/id", Data: []byte(strconv.Itoa(i) + "\n"), Mode: 0o444}, {Target: "/met", Source: met}},
			}
			r.complete()
			b.draft(b.base, &r)
			res, err := b.e.Containers.RunStep(b.Context(), r)
			if err != nil || res.ExitCode != i || !strings.HasPrefix(said.String(), strconv.Itoa(i)+"\n172.17.") {
				b.Errorf("%d: %+v, %v, %q", i, res, err, said.String())
			}
			seen[i] = said.String()[2:]
		})
	}
	wg.Wait()
	for i := range seen {
		for j := range i {
			if seen[i] == seen[j] {
				b.Errorf("steps %d and %d both had the address %s", i, j, seen[i])
			}
		}
	}
}

// The parent's executable, which a step can have executed, cannot be written to
// from inside (CVE-2019-5736).
func testStepExecutable(b *stepBed) {
	out, res, _ := b.run(b.base, StepRequest{Args: []string{"/proc/self/exe", "exe"}})
	if out != "read-only: true\n" {
		b.Errorf("the executable inside: %q, %+v", out, res)
	}
}
