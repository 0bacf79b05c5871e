package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/storage/snapshot"
)

// TestMain lets the test binary play the nursery, as berth does.
func TestMain(m *testing.M) {
	if code, ok := Role(os.Args); ok {
		os.Exit(code)
	}
	if os.Getenv(stepHelper) != "" {
		os.Exit(stepHelperMain())
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
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	cmd := exec.Command("unshare", "--mount", "--net", "--propagation", "private", "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	if f, err := os.Executable(); err == nil {
		cmd.Args[5] = f
	}
	cmd.Env = append(os.Environ(), mark+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	return false
}

// stepBed is an engine over a base layer that holds Debian's busybox.
type stepBed struct {
	*testing.T
	e    *Engine
	base string // a layer
	dir  string
}

func newStepBed(t *testing.T) *stepBed {
	t.Helper()
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	e, err := Open(t.Context(), Options{DataRoot: filepath.Join(dir, "data"), StateRoot: filepath.Join(dir, "state")})
	if err != nil {
		t.Fatal(err)
	}
	b := &stepBed{T: t, e: e, dir: dir}
	d, err := e.snapshots.Begin("")
	if err != nil {
		t.Fatal(err)
	}
	b.fill(d.Dir())
	if b.base, err = d.CommitUnsynced(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.clean)
	return b
}

func (b *stepBed) fill(root string) {
	b.Helper()
	for _, d := range []string{"bin", "etc", "tmp", "root", "home/web"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		b.Skip("needs busybox-static")
	}
	for path, text := range map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n",
		"/etc/group":  "root:x:0:\nweb:x:1001:\nvideo:x:27:web\n",
	} {
		if err := os.WriteFile(root+path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(root+"/bin/busybox", busybox, 0o755); err != nil { //nolint:gosec // a program
		b.Fatal(err)
	}
	for _, name := range strings.Fields("sh sleep echo cat ls id pwd mount umount hostname stat rm mkdir ln mv touch wget nc dd ip env kill chmod chown find yes tail head grep true false mknod wc tr mountpoint") {
		if err := os.Symlink("busybox", root+"/bin/"+name); err != nil {
			b.Fatal(err)
		}
	}
}

// clean checks that nothing is left of the steps.
func (b *stepBed) clean() {
	b.e.nursery.end()
	for _, glob := range []string{b.dir + "/state/steps/*", b.dir + "/state/active/*", b.dir + "/data/containers/*", b.dir + "/data/overlay2/.draft-*", b.dir + "/state/network/endpoints/*"} {
		if left, _ := filepath.Glob(glob); len(left) > 0 {
			b.Errorf("left behind: %v", left)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if bytes.Contains(mounts, []byte(b.dir)) {
		b.Errorf("a mount is left behind:\n%s", mounts)
	}
	if links, _ := filepath.Glob("/sys/class/net/veth*"); len(links) > 0 && false {
		b.Errorf("left behind: %v", links)
	}
	if out, err := exec.Command("ip", "-o", "link").Output(); err != nil || bytes.Contains(out, []byte("veth")) {
		b.Errorf("a cable is left behind: %v\n%s", err, out)
	}
}

// draft begins a layer on parent and mounts it for the request.
func (b *stepBed) draft(parent string, r *StepRequest) *snapshot.Draft {
	b.Helper()
	d, err := b.e.snapshots.Begin(parent)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := d.Discard(); err != nil {
			b.Error(err)
		}
	})
	var points []snapshot.MountPoint
	for _, m := range r.Mounts {
		file := m.Source == nil && !m.Tmpfs
		if m.Source != nil {
			var st unix.Stat_t
			if err := unix.Fstat(int(m.Source.Fd()), &st); err != nil {
				b.Fatal(err)
			}
			file = st.Mode&unix.S_IFMT != unix.S_IFDIR
		}
		points = append(points, snapshot.MountPoint{Path: m.Target, File: file})
	}
	if r.Root, err = d.Mount(b.Context(), points...); err != nil {
		b.Fatal(err)
	}
	return d
}

// sh runs a shell script on the base and returns what it said.
func (b *stepBed) sh(script string, r StepRequest) (out string, res StepResult, d *snapshot.Draft) {
	b.Helper()
	return b.on(b.base, script, r)
}

func (b *stepBed) on(parent, script string, r StepRequest) (out string, res StepResult, d *snapshot.Draft) {
	b.Helper()
	var said bytes.Buffer
	r.Args, r.Stdout, r.Stderr = []string{"/bin/sh", "-c", script}, &said, &said
	if r.NetworkMode == "" {
		r.NetworkMode = "none"
	}
	d = b.draft(parent, &r)
	res, err := b.e.Containers.RunStep(b.Context(), r)
	if err != nil {
		b.Fatalf("%s: %v", script, err)
	}
	return said.String(), res, d
}

// commit makes the draft a layer and returns the names in it.
func (b *stepBed) commit(d *snapshot.Draft) (id string, names []string) {
	b.Helper()
	id, err := d.CommitUnsynced(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	dir := b.e.snapshots.Diff(id)
	err = filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if rel := strings.TrimPrefix(path, dir); rel != "" {
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return id, names
}

const stepHelper = "BERTH_STEP_HELPER"

func stepHelperMain() int { return 0 }

func TestStep(t *testing.T) {
	if !isolated(t) {
		return
	}
	b := newStepBed(t)
	begin := time.Now()
	out, res, d := b.sh("echo hi; echo $$; id -u; pwd; ls / /dev; mount; touch /made; exit 3", StepRequest{})
	t.Log(time.Since(begin), res)
	t.Log(out)
	_, names := b.commit(d)
	t.Log(names)
	_, err := b.e.Containers.RunStep(context.Background(), StepRequest{})
	if !errors.Is(err, errdefs.InvalidArgument) {
		t.Error(err)
	}
}
