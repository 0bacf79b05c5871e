package cgroup

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestDetectFindsWhatTheProcessIsIn(t *testing.T) {
	h, err := Detect()
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(own)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if fields[1] == "" || !strings.Contains(string(table), ","+fields[1]+"\n") {
			continue // a hierarchy exists even if it is mounted nowhere, or only where another program sees it
		}
		for controller := range strings.SplitSeq(strings.TrimPrefix(fields[1], "name="), ",") {
			if h.tree(controller) == nil {
				t.Errorf("hierarchy %q not found in %+v", line, h)
			}
		}
	}
	slow := fromMountinfo(string(table))
	if slow.Version != h.Version || len(slow.trees) != len(h.trees) {
		t.Errorf("by file systems: %+v, by the mount table: %+v", h, slow)
	}
}

func TestFromMountinfo(t *testing.T) {
	for _, c := range []struct {
		name, table string
		version     Version
		trees       []hierarchy
	}{
		{"v2", "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", V2, []hierarchy{{dir: "/sys/fs/cgroup"}}},
		{"hybrid", `31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:29 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct
`, Hybrid, []hierarchy{{"/sys/fs/cgroup/systemd", "systemd"}, {"/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"}, {dir: "/sys/fs/cgroup/unified"}}},
		{"odd places", `40 1 0:40 / /my\040groups/mem rw - cgroup none rw,memory,clone_children,release_agent=/x
`, V1, []hierarchy{{"/my groups/mem", "memory"}}},
		{"nothing", "1 0 8:1 / / rw - ext4 /dev/sda1 rw\nbad\n - \n", V1, nil},
	} {
		h := fromMountinfo(c.table)
		if h.Version != c.version || !slices.Equal(h.trees, c.trees) {
			t.Errorf("%s: got %v %+v, want %v %+v", c.name, h.Version, h.trees, c.version, c.trees)
		}
	}
}

func FuzzFromMountinfo(f *testing.F) {
	f.Add("33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n")
	f.Fuzz(func(t *testing.T, table string) {
		for _, tree := range fromMountinfo(table).trees {
			if strings.Contains(tree.dir, " ") && !strings.Contains(table, `\`) {
				t.Errorf("directory %q", tree.dir)
			}
		}
	})
}

func TestHierarchyHas(t *testing.T) {
	h := hierarchy{name: "cpu,cpuacct"}
	for name, want := range map[string]bool{"cpu": true, "cpuacct": true, "cpuset": false, "": false} {
		if h.has(name) != want {
			t.Errorf("has(%q) = %v", name, !want)
		}
	}
}

func BenchmarkDetect(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Detect(); err != nil {
			b.Fatal(err)
		}
	}
}
