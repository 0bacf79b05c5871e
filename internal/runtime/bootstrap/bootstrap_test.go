package bootstrap

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/linux/program"
)

// rootfs makes a root filesystem of Debian's static busybox.
func rootfs(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs Debian's busybox-static")
	}
	dir := t.TempDir()
	for _, d := range []string{"bin", "proc", "sys", "dev", "tmp", "etc", "root"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"sh", "ls", "cat", "ps", "id", "mount", "pwd", "hostname", "echo", "stat", "ulimit", "tty"} {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", l)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testSpec(script string) *specs.Spec {
	return &specs.Spec{
		Hostname: "box",
		Root:     &specs.Root{},
		Process:  &specs.Process{Args: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}, Cwd: "/"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace}, {Type: specs.UTSNamespace}, {Type: specs.CgroupNamespace}, {Type: specs.TimeNamespace}},
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/acpi", "/proc/nonexistent", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/sys", "/proc/bus", "/proc/nonexistent"},
		},
	}
}

func isDir(p string) bool { fi, err := os.Stat(p); return err == nil && fi.IsDir() }

// run compiles and starts a container and returns its combined output and exit code.
func run(t *testing.T, in Input) (string, int, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	in.Stdio, in.IsDir = [3]*os.File{null, w, w}, isDir
	out, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	fds := make([]int, len(out.FDs))
	for i, f := range out.FDs {
		fds[i] = int(f.Fd())
	}
	s, err := out.Program.Start(program.StartOptions{CloneFlags: CloneFlags(in.Spec), FDs: fds, Cgroup: -1})
	w.Close()
	var f *program.Failure
	if errors.As(err, &f) {
		t.Logf("failed at %q", out.Program.What(f.Index))
	}
	if err != nil {
		return "", 0, err
	}
	defer unix.Close(s.PIDFD)
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(s.PID, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	return string(text), ws.ExitStatus(), nil
}

// allCaps is what a machine without CAP_SYS_RESOURCE can still give.
const allCaps = (1<<41 - 1) &^ (1 << unix.CAP_SYS_RESOURCE)

func TestNewContainer(t *testing.T) {
	in := Input{Spec: testSpec("echo $$; hostname; ls /; cat /proc/kcore; cat /proc/self/status | grep ^Cap; echo x > /proc/sys/kernel/hostname || echo protected; pwd; echo y >/dev/null; ls -ld /dev/null; exit 3"),
		Rootfs: rootfs(t), Bounding: 0xfb, Effective: 0xfb}
	in.Spec.Process.Cwd = "/made/here"
	out, code, err := run(t, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	for _, want := range []string{"1\n", "box\n", "bin\n", "CapBnd:\t00000000000000fb", "CapEff:\t00000000000000fb", "CapInh:\t0000000000000000", "protected", "/made/here", "1,   3"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q", want)
		}
	}
	if code != 3 {
		t.Errorf("exit code %d", code)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), in.Rootfs) {
		t.Errorf("a mount of the container reached the host (%v)", err)
	}
}

func TestUserHasNoCapabilities(t *testing.T) {
	in := Input{Spec: testSpec("id; cat /proc/self/status | grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)'"), Rootfs: rootfs(t), Bounding: 0xfb, Effective: 0xfb}
	in.Spec.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{7, 8}}
	in.Spec.Process.NoNewPrivileges = true
	out, _, err := run(t, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"uid=1000 gid=1001 groups=7,8", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t00000000000000fb", "NoNewPrivs:\t1"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestBindMounts(t *testing.T) {
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "f"), []byte("data\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	in := Input{Spec: testSpec("cat /new/deep/dir/f /etc/file; echo x > /new/deep/dir/f || echo ro1; echo x > /rw/g && echo written"), Rootfs: rootfs(t), Bounding: allCaps, Effective: allCaps}
	in.Spec.Mounts = append(in.Spec.Mounts,
		specs.Mount{Destination: "/new/deep/dir", Type: "bind", Source: src, Options: []string{"rbind", "ro"}},
		specs.Mount{Destination: "/etc/file", Type: "bind", Source: filepath.Join(src, "f"), Options: []string{"rbind", "ro"}},
		specs.Mount{Destination: "/rw", Type: "bind", Source: src, Options: []string{"rbind"}})
	out, _, err := run(t, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"data\ndata\n", "ro1", "written"} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}
}

func TestSymlinkAtSystemDirectoryIsRefused(t *testing.T) {
	for _, name := range []string{"proc", "dev", "sys"} {
		root, canary := rootfs(t), t.TempDir()
		if err := errors.Join(os.Remove(filepath.Join(root, name)), os.Symlink(canary, filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
		if _, _, err := run(t, Input{Spec: testSpec("true"), Rootfs: root, Bounding: allCaps, Effective: allCaps}); err == nil {
			t.Errorf("/%s as a symbolic link must be refused", name)
		}
		if left, _ := os.ReadDir(canary); len(left) != 0 {
			t.Errorf("something was made through /%s: %v", name, left)
		}
	}
}

func TestTargetsStayInside(t *testing.T) {
	root, canary := rootfs(t), t.TempDir()
	if err := os.Symlink("../../../../.."+canary, filepath.Join(root, "out")); err != nil {
		t.Fatal(err)
	}
	in := Input{Spec: testSpec("true"), Rootfs: root, Bounding: allCaps, Effective: allCaps}
	in.Spec.Mounts = append(in.Spec.Mounts, specs.Mount{Destination: "/out/sub", Type: "tmpfs"})
	if _, _, err := run(t, in); err == nil {
		t.Error("a dangling link in a target's path must fail")
	}
	if left, _ := os.ReadDir(canary); len(left) != 0 {
		t.Errorf("made outside: %v", left)
	}
}

func TestExecErrors(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want error
	}{
		"missing":          {[]string{"nosuch"}, unix.ENOENT},
		"missing path":     {[]string{"/bin/nosuch"}, unix.ENOENT},
		"directory":        {[]string{"/etc"}, unix.EACCES},
		"not executable":   {[]string{"/etc/text"}, unix.EACCES},
		"working dir leak": {[]string{"sh"}, unix.ENOENT},
	} {
		in := Input{Spec: testSpec(""), Rootfs: rootfs(t), Bounding: allCaps, Effective: allCaps}
		in.Spec.Process.Args = c.args
		if err := os.WriteFile(filepath.Join(in.Rootfs, "etc/text"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if name == "working dir leak" {
			in.Spec.Process.Cwd = "/proc/self/fd/7"
		}
		if _, _, err := run(t, in); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	s := testSpec("true")
	for b.Loop() {
		if _, err := Compile(Input{Spec: s, Rootfs: "/x", IsDir: isDir}); err != nil {
			b.Fatal(err)
		}
	}
}
