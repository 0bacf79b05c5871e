package bootstrap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"berth/internal/linux/userns"
)

// inUserNS gives a container a user namespace.
func inUserNS(t *testing.T, in *Input) userns.Range {
	t.Helper()
	ns, err := userns.New(userns.Range{UID: 1879048192, GID: 1900000000, Count: 65536}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	in.UserNS = ns.User
	if in.RootTree, err = ns.Clone(in.Rootfs, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.RootTree.Close() })
	in.Spec.Linux.Namespaces = append(in.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: "/proc/self/ns/user"})
	return ns.Range
}

func TestUserNamespace(t *testing.T) {
	secret := t.TempDir() // what only the host's root may enter
	if err := os.Chmod(secret, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"volume", "empty"} {
		if err := os.Mkdir(filepath.Join(secret, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script := `echo $$; id; hostname; cat /proc/self/uid_map /proc/self/gid_map; ls -ld /; echo x > /made; ls -ln /made /volume
		echo y > /volume/f || echo refused; cat /proc/kcore; cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn; echo z > /dev/null && ls -ln /dev/null
		grep -E '^(CapBnd|CapEff)' /proc/self/status; ls /sys/class/net; exit 4`
	in := Input{Spec: testSpec(script), Rootfs: rootfs(t), Bounding: 0xfb, Effective: 0xfb}
	adj := 321
	in.Spec.Process.OOMScoreAdj = &adj
	in.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 20, Hard: 30}}
	in.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "kernel.msgmax": "9999"}
	in.Spec.Mounts = append(in.Spec.Mounts,
		specs.Mount{Destination: "/volume", Type: "bind", Source: secret + "/volume", Options: []string{"rbind"}},
		specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m"}})
	r := inUserNS(t, &in)
	if err := os.Symlink("busybox", filepath.Join(in.Rootfs, "bin/grep")); err != nil {
		t.Fatal(err)
	}
	out, code, err := run(t, in)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	for _, want := range []string{
		"1\nuid=0 gid=0", "box\n", "0 1879048192      65536", "0 1900000000      65536", "1 0        0 ", "refused", "\n321\n20\n30\n", "/dev/null\n",
		"CapBnd:\t00000000000000fb", "CapEff:\t00000000000000fb", "lo\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("output lacks %q", want)
		}
	}
	if code != 4 {
		t.Errorf("exit code %d", code)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(in.Rootfs, "made"), &st); err != nil || st.Uid != 0 || st.Gid != 0 {
		t.Errorf("on the disk the file belongs to %d:%d, %v; the map is %v", st.Uid, st.Gid, err, r)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), in.Rootfs) || strings.Contains(string(mounts), secret) {
		t.Errorf("a mount of the container reached the host (%v)", err)
	}
}

// Every new namespace belongs to the user namespace: its root may do there what
// takes capabilities, as to mount another /proc.
func TestUserNamespaceOwnsTheOthers(t *testing.T) {
	in := Input{Spec: testSpec("mount -t proc proc /tmp && ls -d /tmp/1; mount -t sysfs sysfs /root && ls -d /root/class; hostname changed && hostname; mount -t tmpfs none /etc && echo tmpfs"),
		Rootfs: rootfs(t), Bounding: allCaps, Effective: allCaps}
	in.Spec.Linux.MaskedPaths, in.Spec.Linux.ReadonlyPaths = nil, nil // the kernel shows a new /proc to who sees one whole
	inUserNS(t, &in)
	out, _, err := run(t, in)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/tmp/1\n/root/class\nchanged\ntmpfs\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestUserNamespaceFailureNamesTheStep(t *testing.T) {
	in := Input{Spec: testSpec("true"), Rootfs: rootfs(t), Bounding: allCaps, Effective: allCaps}
	in.Spec.Process.User = specs.User{UID: 70000}
	inUserNS(t, &in)
	if _, _, err := run(t, in); err == nil || !strings.Contains(err.Error(), "invalid argument") {
		t.Errorf("a user that the map has not: %v", err)
	}
}
