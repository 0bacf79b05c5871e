package engine

import (
	"errors"
	"os"
	"strings"
	"testing"

	"berth/internal/atomicfile"
	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
)

// volumeUser records a container that has the volumes.
func volumeUser(t testing.TB, e *Engine, name string, volumes ...string) string {
	t.Helper()
	rec := &container.Record{ID: ident.New(), Path: "sh"}
	for _, v := range volumes {
		rec.Mounts = append(rec.Mounts, container.MountPoint{Type: "volume", Name: v, Destination: "/" + v, RW: true})
	}
	rec.State = container.InitialState(rec, name)
	must(t, e.store.Create(rec, atomicfile.Atomic))
	return rec.ID
}

func TestVolumes(t *testing.T) {
	e := testEngine(t)
	ctx := t.Context()
	if list, err := e.Volumes.List(ctx, nil); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
	v, err := e.Volumes.Create(ctx, "data", map[string]string{"tier": "high"}, nil)
	must(t, err)
	if v.Name != "data" || v.Driver != "local" || v.Scope != "local" || v.Mountpoint != e.opt.DataRoot+"/volumes/data/_data" || v.CreatedAt.IsZero() || v.CreatedAt.Nanosecond() != 0 {
		t.Errorf("%+v", v)
	}
	_, err = e.Volumes.Create(ctx, "cache", nil, nil)
	must(t, err)
	anon, err := e.Volumes.Create(ctx, "", nil, nil)
	must(t, err)
	user := volumeUser(t, e, "web", "data")
	for _, tt := range []struct {
		f    Filters
		want string
	}{
		{nil, "cache data anon"},
		{Filters{"dangling": {"true"}}, "cache anon"},
		{Filters{"dangling": {"false"}}, "data"},
		{Filters{"dangling": {"0", "1"}}, "cache data anon"},
		{Filters{"name": {"a"}, "label": {"tier"}}, "data"},
		{Filters{"name": {"^cach", "ata$"}}, "cache data"},
		{Filters{"label": {"tier=low"}}, ""},
		{Filters{"label": {"com.docker.volume.anonymous"}}, "anon"},
		{Filters{"driver": {"nfs"}}, ""},
		{Filters{"driver": {"nfs", "local"}, "name": {"cache"}}, "cache"},
	} {
		list, err := e.Volumes.List(ctx, tt.f)
		must(t, err)
		got := map[string]bool{}
		for i := range list {
			got[strings.ReplaceAll(list[i].Name, anon.Name, "anon")] = true
		}
		for _, want := range strings.Fields(tt.want) {
			if !got[want] {
				t.Errorf("%v: %s is missing", tt.f, want)
			}
		}
		if len(got) != len(strings.Fields(tt.want)) {
			t.Errorf("%v: %v, want %s", tt.f, got, tt.want)
		}
	}
	for _, f := range []Filters{{"size": {"1"}}, {"dangling": {"maybe"}}} {
		if _, err := e.Volumes.List(ctx, f); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%v: %v", f, err)
		}
	}
	if got, err := e.Volumes.Inspect(ctx, "data"); err != nil || !got.InUse || got.Labels["tier"] != "high" {
		t.Errorf("%+v %v", got, err)
	}
	err = e.Volumes.Remove(ctx, "data", true)
	if !errors.Is(err, errdefs.Conflict) || err.Error() != "remove data: volume is in use - ["+user+"]" {
		t.Error(err)
	}
	must(t, e.Volumes.Remove(ctx, "cache", false))
	if err := e.Volumes.Remove(ctx, "cache", false); !errors.Is(err, errdefs.NotFound) || err.Error() != "get cache: no such volume" {
		t.Error(err)
	}
	must(t, e.Volumes.Remove(ctx, "cache", true))
}

func TestVolumesPrune(t *testing.T) {
	e := testEngine(t)
	ctx := t.Context()
	make := func(name string, labels map[string]string) VolumeInfo {
		v, err := e.Volumes.Create(ctx, name, labels, nil)
		must(t, err)
		must(t, os.WriteFile(v.Mountpoint+"/f", []byte("12345"), 0o600))
		return v
	}
	make("named", nil)
	make("kept", map[string]string{"keep": ""})
	make("used", nil)
	anon, busy := make("", nil), make("", nil)
	volumeUser(t, e, "web", "used", busy.Name)
	names, freed, err := e.Volumes.Prune(ctx, false, nil)
	if err != nil || len(names) != 1 || names[0] != anon.Name || freed != 5 {
		t.Errorf("%v %d %v", names, freed, err)
	}
	names, freed, err = e.Volumes.Prune(ctx, false, Filters{"all": {"true"}, "label!": {"keep"}})
	if err != nil || strings.Join(names, " ") != "named" || freed != 5 {
		t.Errorf("%v %d %v", names, freed, err)
	}
	if names, _, err = e.Volumes.Prune(ctx, true, nil); err != nil || strings.Join(names, " ") != "kept" {
		t.Errorf("%v %v", names, err)
	}
	for _, f := range []Filters{{"name": {"x"}}, {"all": {"x"}}} {
		if _, _, err := e.Volumes.Prune(ctx, true, f); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%v: %v", f, err)
		}
	}
	if list, _ := e.Volumes.List(ctx, nil); len(list) != 2 {
		t.Errorf("%v", list)
	}
}

// TestAnonymousVolumeOfAnother: rm -v leaves a volume that another container has by its name.
func TestAnonymousVolumeOfAnother(t *testing.T) {
	e := testEngine(t)
	v, err := e.Volumes.Create(t.Context(), "", nil, nil)
	must(t, err)
	volumeUser(t, e, "second", v.Name)
	must(t, e.removeVolumes([]string{v.Name, "unknown"}))
	if _, err := e.Volumes.Inspect(t.Context(), v.Name); err != nil {
		t.Error(err)
	}
}

func TestVolumeOptions(t *testing.T) {
	e := testEngine(t)
	host := t.TempDir()
	for _, tt := range []struct {
		options map[string]string
		typ     string
		source  string
		flags   string
		err     error
	}{
		{nil, "bind", "", "rbind ro", nil},
		{map[string]string{"type": "none", "device": host, "o": "bind"}, "bind", host, "rbind ro", nil},
		{map[string]string{"type": "none", "device": host, "o": "rbind,noexec,defaults"}, "bind", host, "rbind noexec ro", nil},
		{map[string]string{"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7"}, "tmpfs", "tmpfs", "nosuid nodev size=1m uid=7 ro", nil},
		{map[string]string{"type": "none", "device": host + "/none", "o": "bind"}, "", "", "", errdefs.InvalidArgument},
		{map[string]string{"type": "nfs", "device": ":/x", "o": "addr=192.0.2.1"}, "", "", "", errdefs.Unsupported},
	} {
		v, err := e.Volumes.Create(t.Context(), "", nil, tt.options)
		must(t, err)
		rec := &container.Record{Mounts: []container.MountPoint{{Type: "volume", Name: v.Name, Destination: "/data"}}}
		list, err := e.makeMounts(t.Context(), rec, nil)
		if !errors.Is(err, tt.err) {
			t.Errorf("%v: %v", tt.options, err)
		}
		if err != nil {
			continue
		}
		if tt.source == "" {
			tt.source = v.Mountpoint
		}
		if m := list[0]; m.Type != tt.typ || m.Source != tt.source || strings.Join(m.Options, " ") != tt.flags || rec.Mounts[0].Source != v.Mountpoint {
			t.Errorf("%v: %+v", tt.options, m)
		}
	}
}
