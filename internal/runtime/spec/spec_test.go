package spec

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/userns"
)

const passwd = "root:x:0:0:root:/root:/bin/sh\nbin:x:1:1::/bin:\nweb:x:1000:1001:Web:/home/web:/bin/sh\nbad:x:4294967296:0::/:\n# comment\nshort:x\n"
const group = "root:x:0:\nwheel:x:10:root,web\nvideo:x:27:web\nweb:x:1001:\n"

func TestResolveUser(t *testing.T) {
	for in, want := range map[string]User{
		"":           {0, 0, []uint32{10}, "/root"},
		"root":       {0, 0, []uint32{10}, "/root"},
		"web":        {1000, 1001, []uint32{10, 27}, "/home/web"},
		"1000":       {1000, 1001, []uint32{10, 27}, "/home/web"},
		"1234":       {1234, 0, nil, "/"},
		"web:video":  {1000, 27, nil, "/home/web"},
		"web:99":     {1000, 99, nil, "/home/web"},
		":27":        {0, 27, nil, "/root"},
		"1000:":      {1000, 1001, []uint32{10, 27}, "/home/web"},
		"00":         {0, 0, []uint32{10}, "/root"},
		"2147483647": {2147483647, 0, nil, "/"},
	} {
		got, err := ResolveUser(in, nil, passwd, group)
		if err != nil || got.UID != want.UID || got.GID != want.GID || !slices.Equal(got.Groups, want.Groups) || got.Home != want.Home {
			t.Errorf("%q: got %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"nobody", "2147483648", "4294967295", "4294967296", "-1", "0 ", " 0", "+0", "0x0", "99999999999999999999999", "web:nogroup", "web:-1", "bad"} {
		if u, err := ResolveUser(in, nil, passwd, group); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%q must be refused, got %+v, %v", in, u, err)
		}
	}
	u, err := ResolveUser("web", []string{"root", "77"}, passwd, group)
	if err != nil || !slices.Equal(u.Groups, []uint32{10, 27, 0, 77}) {
		t.Errorf("group-add: %+v, %v", u, err)
	}
}

func FuzzResolveUser(f *testing.F) {
	f.Add("web:video", passwd, group)
	f.Fuzz(func(t *testing.T, user, passwd, group string) {
		u, err := ResolveUser(user, nil, passwd, group)
		if err == nil && (u.UID > maxID || u.GID > maxID) {
			t.Errorf("%q gave %+v", user, u)
		}
	})
}

func TestParseSignal(t *testing.T) {
	for in, want := range map[string]int{"KILL": 9, "SIGTERM": 15, "sigint": 2, "15": 15, "WINCH": 28, "SYS": 31, "RTMIN": 34, "SIGRTMIN+3": 37, "RTMAX-1": 63} {
		if got, err := ParseSignal(in); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "65", "NOPE", "SIG", "RTMIN+31", "RTMAX+1", "-9"} {
		if n, err := ParseSignal(in); err == nil {
			t.Errorf("%q must be refused, got %d", in, n)
		}
	}
}

func record() *container.Record {
	return &container.Record{Path: "sh", Config: container.Config{Hostname: "h"}, HostConfig: container.HostConfig{NetworkMode: "bridge"}}
}

func TestBuildDefaults(t *testing.T) {
	s, err := Build(record(), Facts{User: User{Home: "/root"}, NofileMax: 4096})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Linux.Namespaces) != 7 || HasNamespace(s, specs.UserNamespace) {
		t.Errorf("namespaces %v", s.Linux.Namespaces)
	}
	if s.Process.Rlimits[0].Soft != 1024 || s.Process.Rlimits[0].Hard != 4096 {
		t.Errorf("nofile %v", s.Process.Rlimits)
	}
	if len(s.Linux.MaskedPaths) == 0 || s.Linux.Sysctl["net.ipv4.ip_unprivileged_port_start"] != "0" {
		t.Error("no masks or sysctls")
	}
	if !slices.Contains(s.Process.Env, DefaultEnv) || !slices.Contains(s.Process.Env, "HOME=/root") || !slices.Contains(s.Process.Env, "HOSTNAME=h") {
		t.Errorf("env %v", s.Process.Env)
	}
}

func TestBuildSharesNamespaces(t *testing.T) {
	r := record()
	r.HostConfig.PidMode, r.HostConfig.NetworkMode, r.HostConfig.IpcMode, r.HostConfig.UTSMode, r.HostConfig.CgroupnsMode = "host", "host", "host", "host", "host"
	s, err := Build(r, Facts{Join: map[specs.LinuxNamespaceType]string{specs.IPCNamespace: "/proc/7/ns/ipc"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ns := range s.Linux.Namespaces {
		got = append(got, string(ns.Type)+ns.Path)
	}
	if want := []string{"mount", "ipc/proc/7/ns/ipc", "time"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(s.Linux.Sysctl) != 0 {
		t.Errorf("host network must not have its sysctls set: %v", s.Linux.Sysctl)
	}
}

func TestSysctlsOutsideNamespacesAreRefused(t *testing.T) {
	for key, value := range map[string]string{"kernel.core_pattern": "x", "net.a+kernel.core_pattern": "x", "net.x": "1\nkernel.y=2", "net.a/../../kernel": "1", "vm.swappiness": "1", "net..x": "1"} {
		r := record()
		r.HostConfig.Sysctls = map[string]string{key: value}
		if _, err := Build(r, Facts{}); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	r := record()
	r.HostConfig.NetworkMode, r.HostConfig.Sysctls = "host", map[string]string{"net.core.somaxconn": "1"}
	if _, err := Build(r, Facts{}); err == nil {
		t.Error("net.* with the host's network must be refused")
	}
}

func TestUserMountsReplaceSystemOnes(t *testing.T) {
	s, err := Build(record(), Facts{Binds: []specs.Mount{{Destination: "/dev/shm", Type: "tmpfs"}, {Destination: "/etc/hosts", Type: "bind"}},
		Files: []specs.Mount{{Destination: "/etc/hosts", Type: "bind"}, {Destination: "/etc/hostname", Type: "bind"}}})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, m := range s.Mounts {
		count[m.Destination]++
	}
	if count["/dev/shm"] != 1 || count["/etc/hosts"] != 1 || count["/etc/hostname"] != 1 {
		t.Errorf("mounts %v", count)
	}
}

func TestUserNamespace(t *testing.T) {
	build := func(count uint32) *specs.Spec {
		r := record()
		r.IDs = &userns.Range{UID: 100000, GID: 100000, Count: count}
		s, err := Build(r, Facts{Join: map[specs.LinuxNamespaceType]string{specs.UserNamespace: "/proc/self/ns/user"}})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	terminals := func(s *specs.Spec) []string {
		i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/pts" })
		return s.Mounts[i].Options
	}
	s := build(65536)
	if !HasNamespace(s, specs.UserNamespace) || s.Linux.Sysctl["net.ipv4.ping_group_range"] != "0 65535" {
		t.Errorf("namespaces %v, sysctls %v", s.Linux.Namespaces, s.Linux.Sysctl)
	}
	if o := terminals(s); !slices.Contains(o, "gid=5") {
		t.Errorf("terminals do not belong to the group tty: %v", o)
	}
	if o := terminals(build(5)); slices.Contains(o, "gid=5") {
		t.Errorf("terminals belong to a group that is not there: %v", o)
	}
}

func TestRelativeWorkingDirIsRefused(t *testing.T) {
	r := record()
	r.Config.WorkingDir = "x"
	if _, err := Build(r, Facts{}); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("got %v", err)
	}
}
