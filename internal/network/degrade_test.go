package network

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/linux/nftables"
)

// A kernel without nf_tables: containers run, their ports are not published,
// and 127.0.0.1 stays out of reach although no rule guards it.
func TestKernelWithoutFilter(t *testing.T) {
	w := newWorld(t)
	w.store.dialFilter = func() (*nftables.Conn, error) { return nil, os.NewSyscallError("socket", unix.EPROTONOSUPPORT) }
	a := w.attach(Publish{Proto: "tcp", ContainerPort: 80, HostPort: 8080})
	b := w.attach()
	warned := strings.Join(a.Warnings, "\n")
	if !strings.Contains(warned, "no port is published") || !strings.Contains(warned, "protocol not supported") || len(a.Ports) != 0 {
		t.Errorf("ports %v, warnings:\n%s", a.Ports, warned)
	}
	w.serve(a.NetNS, "0.0.0.0:80")
	w.sees("a neighbour", b.NetNS, "tcp", at(a.Address, 80), b.Address.String())
	w.sees("the host", w.host, "tcp", at(a.Address, 80), a.Settings.Gateway.String())
	if text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + w.store.Bridge() + "/route_localnet"); err != nil || string(text) != "0\n" {
		t.Errorf("route_localnet is %q without rules (%v)", text, err)
	}
}

// A host whose /proc/sys is read-only, as in a container: the run goes on with a warning.
func TestReadOnlySysctls(t *testing.T) {
	w := newWorld(t)
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		source, target string
		flags          uintptr
	}{
		{"", "/", unix.MS_REC | unix.MS_PRIVATE}, {"/proc/sys", "/proc/sys", unix.MS_BIND}, {"", "/proc/sys", unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY},
	} {
		if err := unix.Mount(m.source, m.target, "", m.flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	a := w.attach()
	warned := strings.Join(a.Warnings, "\n")
	for _, want := range []string{"cannot reach other hosts", "sysctl -w net.ipv4.ip_forward=1", "127.0.0.1", "IPv6 stays on"} {
		if !strings.Contains(warned, want) {
			t.Errorf("no warning of %q:\n%s", want, warned)
		}
	}
	w.serve(a.NetNS, "0.0.0.0:80")
	w.sees("the host", w.host, "tcp", at(a.Address, 80), a.Settings.Gateway.String())
}
