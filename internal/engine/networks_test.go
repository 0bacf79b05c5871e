package engine

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"berth/internal/errdefs"
)

func TestNetworksList(t *testing.T) {
	e := open(Options{DataRoot: t.TempDir(), StateRoot: t.TempDir()})
	for _, c := range []struct {
		filters Filters
		want    []string
	}{
		{nil, []string{"bridge", "host", "none"}},
		{Filters{"driver": {"null", "host"}}, []string{"host", "none"}},
		{Filters{"name": {"o"}, "driver": {"null"}}, []string{"none"}},
		{Filters{"id": {e.networks.ID("host")[:9]}}, []string{"host"}},
		{Filters{"type": {"custom"}}, nil},
		{Filters{"type": {"builtin"}, "scope": {"local"}}, []string{"bridge", "host", "none"}},
		{Filters{"dangling": {"true"}}, nil},
		{Filters{"label": {"a"}}, nil},
	} {
		list, err := e.Networks.List(t.Context(), c.filters)
		if err != nil {
			t.Errorf("%v: %v", c.filters, err)
		}
		var names []string
		for _, n := range list {
			names = append(names, n.Name)
		}
		if !slices.Equal(names, c.want) {
			t.Errorf("%v: %q, want %q", c.filters, names, c.want)
		}
	}
	for _, bad := range []Filters{{"colour": {"red"}}, {"type": {"odd"}}} {
		if _, err := e.Networks.List(t.Context(), bad); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestNetworksInspect(t *testing.T) {
	e := open(Options{DataRoot: t.TempDir(), StateRoot: t.TempDir()})
	for _, ref := range []string{"bridge", e.networks.ID("bridge"), e.networks.ID("bridge")[:12]} {
		n, err := e.Networks.Inspect(t.Context(), ref)
		if err != nil || n.Name != "bridge" || n.Driver != "bridge" || len(n.ID) != 64 || n.Options["com.docker.network.bridge.name"] != e.networks.Bridge() {
			t.Errorf("%s: %+v, %v", ref, n, err)
		}
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"Id":"` + n.ID, `"IPAM":{"Driver":"default","Options":null,"Config":[]}`, `"ConfigFrom":{"Network":""}`, `"Containers":{}`, `"Labels":{}`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %s in %s", want, text)
			}
		}
	}
	if _, err := e.Networks.Inspect(t.Context(), "nosuch"); !errors.Is(err, errdefs.NotFound) || !strings.Contains(err.Error(), "network nosuch not found") {
		t.Errorf("got %v", err)
	}
}
