package cgroup

import (
	"slices"
	"testing"
)

func TestBinds(t *testing.T) {
	h := newHost([]hierarchy{{"/c/cpu,cpuacct", "cpu,cpuacct"}, {"/c/memory", "memory"}, {"/c/unified", ""}})
	got := h.Open("/docker/x").Binds()
	if len(got) != 3 || got[0].Source != "/c/cpu,cpuacct/docker/x" || !slices.Equal(got[0].Links, []string{"cpu", "cpuacct"}) || got[2].Name != "unified" {
		t.Errorf("got %+v", got)
	}
	if b := newHost([]hierarchy{{dir: "/c"}}).Open("/docker/x").Binds(); b != nil {
		t.Errorf("v2: got %+v", b)
	}
}
