package engine

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/linux/cgroup"
	"berth/internal/linux/probe"
)

func TestInfo(t *testing.T) {
	root := t.TempDir()
	e, err := Open(context.Background(), Options{DataRoot: filepath.Join(root, "data"), StateRoot: filepath.Join(root, "state")})
	if err != nil {
		t.Fatal(err)
	}
	i, err := e.System.Info(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if i.Containers != 0 || i.Images != 0 || i.NCPU != runtime.NumCPU() || i.OSType != "linux" || i.Driver != "overlay2" {
		t.Errorf("%+v", i)
	}
	if i.DockerRootDir != filepath.Join(root, "data") || i.StateRoot != filepath.Join(root, "state") {
		t.Errorf("roots %s, %s", i.DockerRootDir, i.StateRoot)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil || i.KernelVersion != strings.TrimSpace(string(release)) {
		t.Errorf("kernel %q, %q, %v", i.KernelVersion, release, err)
	}
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.ParseInt(strings.Fields(string(meminfo))[1], 10, 64)
	if err != nil || i.MemTotal != kib<<10 {
		t.Errorf("memory %d, %d KiB, %v", i.MemTotal, kib, err)
	}
	if len(i.Features) < 15 || !slices.Contains(i.SecurityOptions, "name=seccomp,profile=builtin") {
		t.Errorf("features %v, security %v", i.Features, i.SecurityOptions)
	}
	if _, err := os.Stat(filepath.Join(root, "data")); !os.IsNotExist(err) {
		t.Errorf("info wrote to the data root: %v", err)
	}
}

func TestEngineID(t *testing.T) {
	a, b := engineID("/var/lib/berth"), engineID("/srv/berth")
	if a != engineID("/var/lib/berth") || a == b {
		t.Errorf("%s, %s", a, b)
	}
	if len(a) != 36 || a[14] != '8' || !strings.ContainsRune("89ab", rune(a[19])) {
		t.Errorf("%s is no UUID", a)
	}
	if machine, err := os.ReadFile("/etc/machine-id"); err == nil && len(machine) > 8 && strings.Contains(strings.ReplaceAll(a, "-", ""), string(machine[:8])) {
		t.Errorf("%s shows the machine's id", a)
	}
}

func TestInfoCount(t *testing.T) {
	var i Info
	var states []container.State
	for _, s := range []container.Status{container.Running, container.Restarting, container.Paused, container.Created, container.Exited, container.Dead} {
		states = append(states, container.State{Status: s})
	}
	i.count(states)
	if i.Containers != 6 || i.ContainersRunning != 2 || i.ContainersPaused != 1 || i.ContainersStopped != 3 {
		t.Errorf("%+v", i)
	}
}

func TestInfoWithoutCgroups(t *testing.T) {
	var i Info
	i.cgroups(func() (*cgroup.Host, error) { return nil, errdefs.New(errdefs.Unsupported, "none is mounted") }, &probe.Kernel{})
	if i.CgroupDriver != "none" || len(i.Warnings) != 1 || i.MemoryLimit {
		t.Errorf("%+v", i)
	}
}

func TestBackingFilesystem(t *testing.T) {
	if got := backingFilesystem("/dev/shm/no/such/dir"); got != "tmpfs" {
		t.Errorf("below /dev/shm: %s", got)
	}
	if got := backingFilesystem("/proc"); got != "0x9fa0" {
		t.Errorf("/proc: %s", got)
	}
}
