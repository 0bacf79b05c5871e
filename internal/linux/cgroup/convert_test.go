package cgroup

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCPUWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 0, 1: 1, 2: 1, 512: 59, 1024: 100, 2048: 174, 262144: 10000, 1 << 40: 10000} {
		if got := CPUWeight(shares); got != want {
			t.Errorf("CPUWeight(%d) = %d, want %d", shares, got, want)
		}
	}
	last := uint64(0)
	for shares := uint64(2); shares <= 262144; shares++ {
		w := CPUWeight(shares)
		if w < last || w < 1 || w > 10000 {
			t.Fatalf("CPUWeight(%d) = %d after %d: must never fall", shares, w, last)
		}
		last = w
	}
}

func TestIOWeight(t *testing.T) {
	for weight, want := range map[uint16]uint64{0: 0, 10: 1, 500: 4950, 1000: 10000} {
		if got := IOWeight(weight); got != want {
			t.Errorf("IOWeight(%d) = %d, want %d", weight, got, want)
		}
	}
}

// lines writes settings as "controller/file=value".
func lines(list []setting) []string {
	var out []string
	for _, s := range list {
		line := s.controller + "/" + s.file + "=" + s.value
		if s.altFile != "" {
			line += " or " + s.altFile + "=" + s.altValue
		}
		out = append(out, line)
	}
	return out
}

func TestSettings(t *testing.T) {
	sixty := int64(60)
	for _, c := range []struct {
		name   string
		limits Limits
		v1, v2 []string
	}{
		{"nothing", Limits{}, nil, nil},
		{"cpus", Limits{NanoCPUs: 1.5e9},
			[]string{"cpu/cpu.cfs_period_us=100000", "cpu/cpu.cfs_quota_us=150000"},
			[]string{"cpu/cpu.max=150000 100000"}},
		{"quota alone", Limits{CPUQuota: 20000},
			[]string{"cpu/cpu.cfs_quota_us=20000"}, []string{"cpu/cpu.max=20000"}},
		{"no quota", Limits{CPUQuota: -1, CPUPeriod: 50000},
			[]string{"cpu/cpu.cfs_period_us=50000", "cpu/cpu.cfs_quota_us=-1"}, []string{"cpu/cpu.max=max 50000"}},
		{"shares and sets", Limits{CPUShares: 512, CpusetCpus: "0,1", CpusetMems: "0"},
			[]string{"cpuset/cpuset.cpus=0,1", "cpuset/cpuset.mems=0", "cpu/cpu.shares=512"},
			[]string{"cpuset/cpuset.cpus=0,1", "cpuset/cpuset.mems=0", "cpu/cpu.weight=59"}},
		{"memory", Limits{Memory: 64 << 20, MemorySwap: 128 << 20, MemoryReservation: 32 << 20, Swappiness: &sixty, OOMKillDisable: true},
			[]string{"memory/memory.limit_in_bytes=67108864", "memory/memory.memsw.limit_in_bytes=134217728", "memory/memory.soft_limit_in_bytes=33554432",
				"memory/memory.swappiness=60", "memory/memory.oom_control=1"},
			[]string{"memory/memory.max=67108864", "memory/memory.swap.max=67108864", "memory/memory.low=33554432"}},
		{"memory without swap", Limits{Memory: 64 << 20, MemorySwap: 64 << 20},
			[]string{"memory/memory.limit_in_bytes=67108864", "memory/memory.memsw.limit_in_bytes=67108864"},
			[]string{"memory/memory.max=67108864", "memory/memory.swap.max=0"}},
		{"unlimited", Limits{Memory: -1, MemorySwap: -1, Pids: -1},
			[]string{"memory/memory.limit_in_bytes=-1", "memory/memory.memsw.limit_in_bytes=-1", "pids/pids.max=max"},
			[]string{"memory/memory.max=max", "memory/memory.swap.max=max", "pids/pids.max=max"}},
		{"block", Limits{BlkioWeight: 500, WeightDevices: []WeightDevice{{8, 0, 10}}, ReadBps: []RateDevice{{8, 0, 1024}}, WriteIOps: []RateDevice{{8, 16, 7}}},
			[]string{"blkio/blkio.bfq.weight=500 or blkio.weight=500", "blkio/blkio.bfq.weight_device=8:0 10 or blkio.weight_device=8:0 10",
				"blkio/blkio.throttle.read_bps_device=8:0 1024", "blkio/blkio.throttle.write_iops_device=8:16 7"},
			[]string{"io/io.bfq.weight=500 or io.weight=default 4950", "io/io.bfq.weight=8:0 10 or io.weight=8:0 1",
				"io/io.max=8:0 rbps=1024", "io/io.max=8:16 wiops=7"}},
		{"devices", Limits{Devices: []DeviceRule{{false, 'a', Any, Any, AllAccess}, {true, 'c', 1, 3, Read | Write}, {false, 'a', 8, Any, Write}}},
			[]string{"devices/devices.deny=a", "devices/devices.allow=c 1:3 rw", "devices/devices.deny=c 8:* w", "devices/devices.deny=b 8:* w"}, nil},
		{"files", Limits{Unified: map[string]string{"memory.high": "1", "cpu.idle": "1"}}, nil, []string{"/cpu.idle=1", "/memory.high=1"}},
	} {
		if diff := cmp.Diff(c.v1, lines(c.limits.v1(nil))); diff != "" {
			t.Errorf("%s, v1 (-want +got):\n%s", c.name, diff)
		}
		if diff := cmp.Diff(c.v2, lines(c.limits.v2(nil))); diff != "" {
			t.Errorf("%s, v2 (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestParseDeviceRule(t *testing.T) {
	for _, ok := range []string{"c 1:3 rwm", "b 8:* r", "a *:* rwm", "c *:229 wm"} {
		r, err := ParseDeviceRule(ok)
		if err != nil || r.String() != ok {
			t.Errorf("ParseDeviceRule(%q) = %v, %v", ok, r, err)
		}
	}
	for _, bad := range []string{"", "c 1:3", "d 1:3 rwm", "c 1 rwm", "c x:3 rwm", "c 1:3 ", "c 1:3 x", "c -1:3 r", "c 1:3 r ", "c 01:3 r", "c 99999999999:1 r"} {
		if r, err := ParseDeviceRule(bad); err == nil {
			t.Errorf("ParseDeviceRule(%q) = %v, want an error", bad, r)
		}
	}
}

func FuzzParseDeviceRule(f *testing.F) {
	f.Add("c 1:3 rwm")
	f.Add("a *:* m")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseDeviceRule(s)
		if err != nil {
			return
		}
		again, err := ParseDeviceRule(r.String())
		if err != nil || again != r {
			t.Errorf("%q reads as %v, which reads as %v, %v", s, r, again, err)
		}
	})
}

func TestParseList(t *testing.T) {
	for s, want := range map[string][]int{"0": {0}, "0-2,4": {0, 1, 2, 4}, "3,1": {1, 3}, "0-1\n": {0, 1}} {
		set, err := ParseList(s)
		var got []int
		for i, in := range set {
			if in {
				got = append(got, i)
			}
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("ParseList(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, bad := range []string{"", "a", "1-", "-1", "2-1", "0,,1", "9000", "1:2"} {
		if set, err := ParseList(bad); err == nil {
			t.Errorf("ParseList(%q) = %v, want an error", bad, set)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("0-2,4")
	f.Fuzz(func(t *testing.T, s string) {
		if set, err := ParseList(s); err == nil && (len(set) == 0 || len(set) > maxListed || !set[len(set)-1]) {
			t.Errorf("ParseList(%q) has length %d", s, len(set))
		}
	})
}
