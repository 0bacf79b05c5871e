package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/process"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for mounts")
	}
}

// hostCanary is a directory of the host that no copy may read or change.
func hostCanary(t *testing.T) (dir string, verify func()) {
	t.Helper()
	dir = t.TempDir()
	must(t, os.WriteFile(dir+"/secret", []byte("of the host"), 0o640))
	must(t, os.Mkdir(dir+"/sub", 0o700))
	look := func() string {
		out, err := exec.Command("find", dir, "-printf", `%p %M %U %G %s %T@\n`).Output()
		must(t, err)
		return string(out)
	}
	before := look()
	return dir, func() {
		t.Helper()
		if after := look(); after != before {
			t.Errorf("the host's directory changed:\n%s\n%s", before, after)
		}
	}
}

// noMounts checks that nothing below dir is mounted as the host sees it.
func noMounts(t testing.TB, dir string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(b), dir) {
		t.Errorf("something is mounted below %s", dir)
	}
}

// tarOf makes a tar of name -> content; a name that ends in "/" is a directory, "-> " begins a link's target.
func tarOf(t testing.TB, entries ...[2]string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e[0], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e[1])), Uid: 1234, Gid: 1235}
		data := e[1]
		if strings.HasSuffix(e[0], "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		}
		if target, ok := strings.CutPrefix(data, "-> "); ok {
			h.Typeflag, h.Linkname, h.Size, data = tar.TypeSymlink, target, 0, ""
		}
		must(t, w.WriteHeader(h))
		_, err := io.WriteString(w, data)
		must(t, err)
	}
	must(t, w.Close())
	return &b
}

// entries lists a tar as "name" or "name=content".
func entries(t testing.TB, r io.Reader) (out []string) {
	t.Helper()
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		must(t, err)
		b, err := io.ReadAll(tr)
		must(t, err)
		line := h.Name
		if len(b) > 0 {
			line += "=" + string(b)
		}
		if h.Linkname != "" {
			line += " -> " + h.Linkname
		}
		out = append(out, line)
	}
}

func TestCopyStopped(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	testImage{layers: "base app", tags: "img"}.add(t, e)
	id := testContainer(t, e, "img", "web", container.Exited)
	ctx := t.Context()
	must(t, e.Containers.CopyTo(ctx, "web", "/", false, tarOf(t, [2]string{"d/"}, [2]string{"d/f", "one"}, [2]string{"d/l", "-> /base"})))
	var b bytes.Buffer
	must(t, e.Containers.CopyFrom(ctx, "web", "/d", false, &b))
	if got := strings.Join(entries(t, &b), " "); got != "d/ d/f=one d/l -> /base" {
		t.Error(got)
	}
	for p, want := range map[string]string{"/base": "base=base", "app": "app=app", "/d/f": "f=one", "d/.": "./ ./f=one ./l -> /base", "/d/l": "l -> /base"} {
		b.Reset()
		must(t, e.Containers.CopyFrom(ctx, id[:12], p, false, &b))
		if got := strings.Join(entries(t, &b), " "); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	b.Reset()
	must(t, e.Containers.CopyFrom(ctx, "web", "/d/l", true, &b))
	if got := strings.Join(entries(t, &b), " "); got != "l=base" {
		t.Error("followed:", got)
	}
	b.Reset()
	must(t, e.Containers.CopyFrom(ctx, "web", "/", false, &b))
	if got := strings.Join(entries(t, &b), " "); !strings.HasPrefix(got, "./ ") || !strings.Contains(got, " ./d/f=one") {
		t.Error("root:", got)
	}
	// What was copied in is a change of the container, with the ids of the tar.
	changes, err := e.Containers.Diff(ctx, "web")
	must(t, err)
	if fmt.Sprint(changes) != fmt.Sprint([]Change{{'A', "/d"}, {'A', "/d/f"}, {'A', "/d/l"}}) {
		t.Error(changes)
	}
	var st unix.Stat_t
	must(t, unix.Stat(e.snapshots.Diff(id)+"/d/f", &st))
	if st.Uid != 1234 || st.Gid != 1235 {
		t.Error("owner", st.Uid, st.Gid)
	}
	for p, want := range map[string]PathStat{"/d": {"d", true, "", 0}, "/d/f": {"f", false, "", 3}, "/d/l": {"l", false, "/base", 5}, "/": {"/", true, "", 0}} {
		got, err := e.Containers.StatPath(ctx, "web", p)
		if got.IsDir {
			got.Size = 0
		}
		if err != nil || got != want {
			t.Errorf("%s: %+v %v", p, got, err)
		}
	}
	noMounts(t, e.opt.DataRoot)
	if names, _ := os.ReadDir(e.leaseDir()); len(names) != 0 {
		t.Errorf("leases left: %v", names)
	}
}

func TestCopyErrors(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	testImage{layers: "base", tags: "img"}.add(t, e)
	testContainer(t, e, "img", "web", container.Created)
	ctx := t.Context()
	must(t, e.Containers.CopyTo(ctx, "web", "/", false, tarOf(t, [2]string{"d/"})))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for name, tt := range map[string]struct {
		err  error
		want error
		text string
	}{
		"no container":          {e.Containers.CopyFrom(ctx, "none", "/", false, io.Discard), errdefs.NotFound, "No such container: none"},
		"no path":               {e.Containers.CopyFrom(ctx, "web", "/none", false, io.Discard), errdefs.NotFound, "Could not find the file /none in container web"},
		"below a file":          {e.Containers.CopyFrom(ctx, "web", "/base/x", false, io.Discard), errdefs.NotFound, "Could not find"},
		"no directory to":       {e.Containers.CopyTo(ctx, "web", "/none", false, tarOf(t)), errdefs.NotFound, "Could not find"},
		"to a file":             {e.Containers.CopyTo(ctx, "web", "/base", false, tarOf(t)), errdefs.InvalidArgument, "not a directory"},
		"file over directory":   {e.Containers.CopyTo(ctx, "web", "/", false, tarOf(t, [2]string{"d", "file"})), errdefs.Conflict, "cannot overwrite directory with non-directory"},
		"directory over a file": {e.Containers.CopyTo(ctx, "web", "/", false, tarOf(t, [2]string{"base/"})), errdefs.Conflict, "cannot overwrite non-directory with directory"},
		"no tar":                {e.Containers.CopyTo(ctx, "web", "/", false, strings.NewReader(strings.Repeat("noise", 500))), errdefs.InvalidArgument, "malformed tar"},
		"escape":                {e.Containers.CopyTo(ctx, "web", "/d", false, tarOf(t, [2]string{"../../x", "y"})), errdefs.InvalidArgument, "leads out"},
		"cancelled":             {e.Containers.CopyTo(cancelled, "web", "/", false, tarOf(t, [2]string{"new", "y"})), context.Canceled, ""},
	} {
		if !errors.Is(tt.err, tt.want) || !strings.Contains(fmt.Sprint(tt.err), tt.text) {
			t.Errorf("%s: %v", name, tt.err)
		}
	}
	if _, err := e.Containers.StatPath(ctx, "web", "/none"); !errors.Is(err, errdefs.NotFound) {
		t.Error(err)
	}
}

// TestCopyNeverDecompresses: what a compressed stream would need is never run (CVE-2019-14271, CVE-2026-41567).
func TestCopyNeverDecompresses(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	testImage{layers: "base", tags: "img"}.add(t, e)
	id := testContainer(t, e, "img", "web", container.Exited)
	marker := t.TempDir() + "/marker"
	for _, tool := range []string{"xz", "unpigz", "gzip", "zstd", "bzip2", "tar"} {
		must(t, os.MkdirAll(e.snapshots.Diff(id)+"/usr/bin", 0o755))
		must(t, os.WriteFile(e.snapshots.Diff(id)+"/usr/bin/"+tool, []byte("#!/bin/sh\ntouch "+marker+"\n"), 0o755))
	}
	for _, magic := range []string{"\xfd7zXZ\x00", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd", "BZh9"} {
		err := e.Containers.CopyTo(t.Context(), "web", "/", false, strings.NewReader(magic+strings.Repeat("\x00", 2000)))
		if !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%q: %v", magic, err)
		}
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a program of the image was run")
	}
}

// TestCopyMounts copies through the volumes and binds of a container that never ran.
func TestCopyMounts(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	testImage{layers: "base", tags: "img"}.add(t, e)
	img, err := e.images.Resolve("img")
	must(t, err)
	src := t.TempDir()
	must(t, os.WriteFile(src+"/host.conf", []byte("bound"), 0o644))
	rec := &container.Record{ID: ident.New(), ImageID: img.ID.String(), Config: container.Config{Image: "img"}, Path: "sh"}
	rec.HostConfig.ReadonlyRootfs = true
	rec.Mounts = []container.MountPoint{
		{Type: "volume", Name: "data", Destination: "/data", RW: true},
		{Type: "bind", Source: src, Destination: "/data/bound", RW: false},
		{Type: "bind", Source: src + "/host.conf", Destination: "/etc/one.conf", RW: true},
		{Type: "tmpfs", Destination: "/tmp"},
	}
	must(t, e.snapshots.Prepare(rec.ID, img.TopLayer))
	rec.State = container.InitialState(rec, "web")
	must(t, e.store.Create(rec, atomicfile.Atomic))
	ctx := t.Context()
	must(t, e.Containers.CopyTo(ctx, "web", "/data", false, tarOf(t, [2]string{"f", "kept"})))
	v, err := e.volumes.Get("data")
	must(t, err)
	if b, _ := os.ReadFile(v.Path + "/f"); string(b) != "kept" {
		t.Errorf("in the volume: %q", b)
	}
	for p, want := range map[string]string{"/data/f": "f=kept", "/data/bound/host.conf": "host.conf=bound", "/etc/one.conf": "one.conf=bound"} {
		var b bytes.Buffer
		must(t, e.Containers.CopyFrom(ctx, "web", p, false, &b))
		if got := strings.Join(entries(t, &b), " "); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	for p, word := range map[string]string{"/data/bound": "read-only", "/": "rootfs is marked read-only"} {
		err := e.Containers.CopyTo(ctx, "web", p, false, tarOf(t, [2]string{"x", "y"}))
		if !errors.Is(err, errdefs.Forbidden) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if names, _ := os.ReadDir(src); len(names) != 1 {
		t.Errorf("the read-only bind was written: %v", names)
	}
	noMounts(t, e.opt.DataRoot)
}

// TestCopyAsUser: with -a files belong to the container's user, as in Docker.
func TestCopyAsUser(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	for name, tt := range map[string]struct {
		user     string
		archive  bool
		uid, gid uint32
	}{"plain": {"app", false, 1234, 1235}, "archive": {"app", true, 77, 78}, "nobody": {"", true, 1234, 1235}} {
		rec := &container.Record{ID: ident.New(), Config: container.Config{User: tt.user}, Path: "sh"}
		rec.HostConfig.Rootfs = t.TempDir()
		must(t, os.Mkdir(rec.HostConfig.Rootfs+"/etc", 0o755))
		must(t, os.WriteFile(rec.HostConfig.Rootfs+"/etc/passwd", []byte("app:x:77:78::/:/bin/sh\n"), 0o644))
		rec.State = container.InitialState(rec, name)
		must(t, e.store.Create(rec, atomicfile.Atomic))
		must(t, e.Containers.CopyTo(t.Context(), name, "/", tt.archive, tarOf(t, [2]string{"f", "x"})))
		var st unix.Stat_t
		must(t, unix.Stat(rec.HostConfig.Rootfs+"/f", &st))
		if st.Uid != tt.uid || st.Gid != tt.gid {
			t.Errorf("%s: %d:%d", name, st.Uid, st.Gid)
		}
	}
}

// liveContainer starts a process in its own root and mounts and records it as a running container.
func liveContainer(t *testing.T, e *Engine, name string) (root string) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("no busybox to run in a root of its own")
	}
	root = t.TempDir()
	for _, d := range []string{"bin", "tmp", "work", "proc"} {
		must(t, os.Mkdir(root+"/"+d, 0o755))
	}
	text, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(root+"/bin/busybox", text, 0o755))
	cmd := &exec.Cmd{
		Path: "/bin/busybox", Args: []string{"busybox", "sh", "-c", "busybox mount -t tmpfs none /tmp && echo mounted > /tmp/in && busybox mount -t proc none /proc && echo ready && exec busybox sleep 600"},
		Dir: "/", SysProcAttr: &unix.SysProcAttr{Chroot: root, Unshareflags: unix.CLONE_NEWNS},
	}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if line := make([]byte, 6); true {
		if _, err := io.ReadFull(out, line); err != nil {
			t.Skip("cannot make a container by hand: ", err)
		}
	}
	rec := &container.Record{ID: ident.New(), Created: time.Now(), Path: "sh"}
	rec.HostConfig.Rootfs = root
	start, err := process.StartTime(cmd.Process.Pid)
	must(t, err)
	rec.State = container.State{ID: rec.ID, Name: name, Status: container.Running, PID: cmd.Process.Pid, PIDStart: start, BootID: process.BootID()}
	must(t, e.store.Create(rec, atomicfile.Atomic))
	return root
}

func TestCopyRunning(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	root := liveContainer(t, e, "live")
	ctx := t.Context()
	var b bytes.Buffer
	must(t, e.Containers.CopyFrom(ctx, "live", "/tmp", false, &b)) // a mount that only the container sees
	if got := strings.Join(entries(t, &b), " "); got != "tmp/ tmp/in=mounted\n" {
		t.Error(got)
	}
	must(t, e.Containers.CopyTo(ctx, "live", "/tmp", false, tarOf(t, [2]string{"new", "x"})))
	b.Reset()
	must(t, e.Containers.CopyFrom(ctx, "live", "/tmp/new", false, &b))
	if got := strings.Join(entries(t, &b), " "); got != "new=x" {
		t.Error(got)
	}
	if names, _ := os.ReadDir(root + "/tmp"); len(names) != 0 {
		t.Errorf("written below the mount: %v", names)
	}
	b.Reset()
	must(t, e.Containers.CopyFrom(ctx, "live", "/", false, &b))
	if got := strings.Join(entries(t, &b), " "); !strings.Contains(got, " ./proc/ ./tmp/") {
		t.Error("all of procfs was copied:", len(got))
	}
	// The links of procfs lead out of every root.
	for _, p := range []string{"/proc/1/root/etc/passwd", "/proc/self/exe", "/proc/1/cwd/"} {
		if err := e.Containers.CopyFrom(ctx, "live", p, true, io.Discard); err == nil {
			t.Errorf("%s was copied", p)
		}
	}
}

// TestCopyExchange copies in and out of a running container that swaps a
// directory with a link to the host all the time (CVE-2018-15664, CVE-2026-41568,
// CVE-2026-42306): rows 24 and 26.
func TestCopyExchange(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	root := liveContainer(t, e, "live")
	host, verify := hostCanary(t)
	defer verify()
	must(t, os.MkdirAll(root+"/work/dir/sub", 0o755))
	must(t, os.WriteFile(root+"/work/dir/secret", []byte("inside"), 0o644))
	must(t, os.Symlink(host, root+"/work/link"))
	must(t, os.Symlink("../../../../../../../../.."+host, root+"/work/up"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer func() { close(stop); wg.Wait() }()
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, root+"/work/dir", unix.AT_FDCWD, root+"/work/"+[]string{"link", "up"}[i/2%2], unix.RENAME_EXCHANGE)
			}
		}
	})
	in, out := 0, 0
	for range 1000 {
		var b bytes.Buffer
		if e.Containers.CopyFrom(t.Context(), "live", "/work/dir/secret", true, &b) == nil {
			out++
		}
		if bytes.Contains(b.Bytes(), []byte("of the host")) {
			t.Fatal("read the host's file")
		}
		if e.Containers.CopyTo(t.Context(), "live", "/work/dir", true, tarOf(t, [2]string{"sub/"}, [2]string{"sub/new", "x"}, [2]string{"secret", "inside"}, [2]string{"l", "-> " + host + "/secret"}, [2]string{"l", "inside"})) == nil {
			in++
		}
	}
	if in == 0 || out == 0 {
		t.Errorf("%d copies in, %d out: the test shows nothing", in, out)
	}
	noMounts(t, root)
}

// TestCopyLinks: no mode or owner of the host is changed through links (CVE-2021-41089).
func TestCopyLinks(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	root := liveContainer(t, e, "live")
	host, verify := hostCanary(t)
	defer verify()
	must(t, os.Symlink(host, root+"/work/dir"))
	must(t, os.Symlink(host+"/secret", root+"/work/file"))
	ctx := t.Context()
	// The link's target does not exist inside, so there is nothing to copy to or from.
	for _, p := range []string{"/work/dir", "/work/dir/", "/work/dir/.", "/work/dir/sub", "/work/file"} {
		if err := e.Containers.CopyTo(ctx, "live", p, true, tarOf(t, [2]string{"x", "y"})); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("to %s: %v", p, err)
		}
		if err := e.Containers.CopyFrom(ctx, "live", p, true, io.Discard); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("from %s: %v", p, err)
		}
	}
	// Over the links themselves.
	must(t, e.Containers.CopyTo(ctx, "live", "/work", true, tarOf(t, [2]string{"file", "new"}, [2]string{"dir", "new"})))
	for _, f := range []string{"/work/file", "/work/dir"} {
		if fi, err := os.Lstat(root + f); err != nil || !fi.Mode().IsRegular() {
			t.Errorf("%s: %v %v", f, fi.Mode(), err)
		}
	}
	// A link packed as itself.
	must(t, os.Symlink(host, root+"/work/again"))
	var b bytes.Buffer
	must(t, e.Containers.CopyFrom(ctx, "live", "/work/again", false, &b))
	if got := strings.Join(entries(t, &b), " "); got != "again -> "+host {
		t.Error(got)
	}
}

// TestCopyParallel copies into one stopped container from many sides at once.
func TestCopyParallel(t *testing.T) {
	needRoot(t)
	e := testEngine(t)
	testImage{layers: "base", tags: "img"}.add(t, e)
	id := testContainer(t, e, "img", "web", container.Exited)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := e.Containers.CopyTo(t.Context(), "web", "/", false, tarOf(t, [2]string{fmt.Sprint("f", i), "x"})); err != nil {
				t.Error(err)
			}
			if err := e.Containers.CopyFrom(t.Context(), "web", "/base", false, io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 8 {
		if _, err := os.Stat(filepath.Join(e.snapshots.Diff(id), fmt.Sprint("f", i))); err != nil {
			t.Error(err)
		}
	}
}
