package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/process"
)

func newStore(t testing.TB) *Store {
	t.Helper()
	return Open(filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "run"))
}

// record returns a container as the engine makes it.
func record(name string) *Record {
	r := &Record{ID: ident.New(), Created: time.Now().UTC(), Path: "sleep", Args: []string{"60"}, ImageID: "sha256:abc"}
	r.Config.Image, r.Config.Labels = "busybox", map[string]string{"a": "b"}
	r.HostConfig.NetworkMode = "bridge"
	r.State.Name = name
	return r
}

func create(t testing.TB, s *Store, name string) *Record {
	t.Helper()
	r := record(name)
	if err := s.Create(r, atomicfile.Atomic); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCreateLoadRemove(t *testing.T) {
	s := newStore(t)
	if states, err := s.States(); err != nil || len(states) != 0 {
		t.Fatalf("an empty store has %v, %v", states, err)
	}
	r := record("web")
	r.HostConfig.Resources.Memory = 1 << 20
	if err := s.Create(r, atomicfile.Durable); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load(r.ID)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Fatalf("Load = %+v, %v; want %+v", got, err, r)
	}
	if got.State.Command != "sleep 60" || got.State.Status != Created || got.State.Labels["a"] != "b" {
		t.Errorf("state %+v", got.State)
	}
	for _, ref := range []string{r.ID, "web", "/web", r.ID[:12], r.ID[:5]} {
		if id, err := s.Resolve(ref); err != nil || id != r.ID {
			t.Errorf("Resolve(%q) = %q, %v", ref, id, err)
		}
	}
	for _, ref := range []string{"", "w", "we", "/", "../web", "nobody", strings.Repeat("0", 64), "0000"} {
		if id, err := s.Resolve(ref); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("Resolve(%q) = %q, %v", ref, id, err)
		}
	}
	if err := s.MakeStateDir(r.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(r.ID); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.Dir(r.ID), s.StateDir(r.ID), s.linkPath("web")} {
		if pathExists(path) {
			t.Errorf("%s is left", path)
		}
	}
	if err := s.Remove(r.ID); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("a second Remove: %v", err)
	}
	if _, err := s.Load(r.ID); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("Load after Remove: %v", err)
	}
}

func TestAmbiguousPrefix(t *testing.T) {
	s := newStore(t)
	a, b := record("aa"), record("bb")
	b.ID = a.ID[:20] + b.ID[20:]
	for _, r := range []*Record{a, b} {
		if err := s.Create(r, atomicfile.Atomic); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Resolve(a.ID[:10]); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("an ambiguous prefix: %v", err)
	}
}

// TestNameRace: of 64 creates of one name one wins, the others learn who did.
func TestNameRace(t *testing.T) {
	s := newStore(t)
	const n = 64
	errs := make([]error, n)
	ids := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := record("same")
			ids[i], errs[i] = r.ID, s.Create(r, atomicfile.Atomic)
		})
	}
	wg.Wait()
	winner, err := s.Resolve("same")
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	want := fmt.Sprintf(`Conflict. The container name "/same" is already in use by container "%s". You have to remove (or rename) that container to be able to reuse that name.`, winner)
	for i, err := range errs {
		if err == nil && ids[i] == winner {
			continue
		}
		lost++
		if !errors.Is(err, errdefs.Conflict) || err.Error() != want {
			t.Errorf("a loser got: %v", err)
		}
	}
	if lost != n-1 {
		t.Errorf("%d losers", lost)
	}
	if ids, err := s.ids(); err != nil || len(ids) != 1 {
		t.Errorf("%d directories are left, %v", len(ids), err)
	}
}

func TestRandomNamesDoNotClash(t *testing.T) {
	s := newStore(t)
	seen := map[string]bool{}
	for range 50 {
		r := create(t, s, "")
		if seen[r.State.Name] || CheckName(r.State.Name) != nil {
			t.Fatalf("name %q", r.State.Name)
		}
		seen[r.State.Name] = true
	}
}

func TestUpdate(t *testing.T) {
	s := newStore(t)
	r := create(t, s, "web")
	boot := process.BootID()
	start, _ := process.StartTime(os.Getpid())
	run := func(st *State) error {
		st.Status, st.PID, st.PIDStart, st.BootID, st.StartedAt = Running, os.Getpid(), start, boot, time.Now().UTC()
		return nil
	}
	got, err := s.Update(r.ID, run)
	if err != nil || got.Status != Running {
		t.Fatal(got, err)
	}
	if st, err := s.LoadState(r.ID); err != nil || !reflect.DeepEqual(st, got) {
		t.Fatalf("LoadState = %+v, %v; want %+v", st, err, got)
	}
	if _, err := s.Update(r.ID, func(st *State) error { st.Status = Dead; return nil }); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("running became dead: %v", err)
	}
	stop := errors.New("no")
	if _, err := s.Update(r.ID, func(st *State) error { st.Status = Exited; return stop }); !errors.Is(err, stop) {
		t.Errorf("error of change: %v", err)
	}
	if st, _ := s.LoadState(r.ID); st.Status != Running {
		t.Errorf("a refused change was written: %+v", st)
	}
	if st, err := s.UpdateDurably(r.ID, func(st *State) error { st.Status, st.ExitCode, st.PID = Exited, 3, 0; return nil }); err != nil || st.ExitCode != 3 {
		t.Error(st, err)
	}
	text, err := os.ReadFile(s.Dir(r.ID) + "/state.json")
	if err != nil || !json.Valid(text) || text[len(text)-1] != '\n' {
		t.Errorf("state.json is %q, %v", text, err)
	}
	if _, err := s.Update(ident.New(), run); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("update of nothing: %v", err)
	}
}

// TestConcurrentUpdates: no change is lost, and readers never see half of one.
func TestConcurrentUpdates(t *testing.T) {
	s := newStore(t)
	r := create(t, s, "web")
	const writers, each = 8, 50
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				states, err := s.States()
				if err != nil || len(states) != 1 || len(states[0].Error) != states[0].RestartCount%97 || states[0].Status != Created {
					t.Errorf("read %+v, %v", states, err)
					return
				}
			}
		})
	}
	for range writers {
		writing.Go(func() {
			for range each {
				_, err := s.Update(r.ID, func(st *State) error {
					st.RestartCount++
					st.Error = strings.Repeat("x", st.RestartCount%97)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	if st, err := s.LoadState(r.ID); err != nil || st.RestartCount != writers*each {
		t.Errorf("%d of %d changes: %v", st.RestartCount, writers*each, err)
	}
}

func TestRename(t *testing.T) {
	s := newStore(t)
	a, b := create(t, s, "aa"), create(t, s, "bb")
	if err := s.Rename(a.ID, "bb"); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("a taken name: %v", err)
	}
	if err := s.Rename(a.ID, "aa"); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("the same name: %v", err)
	}
	if err := s.Rename(a.ID, "a/a"); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a bad name: %v", err)
	}
	if err := s.Rename(a.ID, "cc"); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Resolve("cc"); err != nil || id != a.ID {
		t.Error(id, err)
	}
	if _, err := s.Resolve("aa"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("the old name: %v", err)
	}
	if err := s.Rename(b.ID, "aa"); err != nil {
		t.Errorf("the freed name: %v", err)
	}
	if st, _ := s.LoadState(b.ID); st.Name != "aa" {
		t.Errorf("state %+v", st)
	}
}

// TestDamagedState: a state file that the loss of power or a person spoilt.
func TestDamagedState(t *testing.T) {
	s := newStore(t)
	r, other := create(t, s, "web"), create(t, s, "other")
	path := s.Dir(r.ID) + "/state.json"
	for _, text := range []string{"", "\x00\x00\x00", `{"ID":"` + r.ID} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := s.LoadState(r.ID)
		if err != nil || st.Status != Created || st.Name != "web" || st.Command != "sleep 60" {
			t.Errorf("%q: %+v, %v", text, st, err)
		}
	}
	if _, err := s.Update(r.ID, func(st *State) error { st.Error = "before"; return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(r.ID, func(st *State) error { st.Error = "now"; return nil }); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path, nil, 0o600)
	if st, err := s.LoadState(r.ID); err != nil || st.Error != "before" {
		t.Errorf("the state before: %+v, %v", st, err)
	}
	os.WriteFile(path, []byte(`{"ID":"`+r.ID+`","Status":"exited","ExitCode":4}`), 0o600)
	if st, err := s.LoadState(r.ID); err != nil || st.ExitCode != 4 {
		t.Errorf("a state written by hand: %+v, %v", st, err)
	}
	os.WriteFile(path, nil, 0o600)
	os.Remove(s.Dir(r.ID) + "/state.next")
	os.WriteFile(s.Dir(r.ID)+"/config.json", nil, 0o600)
	states, err := s.States()
	if err != nil || len(states) != 2 {
		t.Fatalf("one damaged container hides others: %+v, %v", states, err)
	}
	for _, st := range states {
		if st.ID == r.ID && (st.Status != Dead || st.Name != "web" || st.Error == "") || st.ID == other.ID && st.Status != Created {
			t.Errorf("state %+v", st)
		}
	}
	if err := s.Remove(r.ID); err != nil || pathExists(s.linkPath("web")) {
		t.Errorf("removal of a damaged container: %v", err)
	}
}

// TestGC makes what a kill at each step of create, rename and remove leaves.
func TestGC(t *testing.T) {
	s := newStore(t)
	keep := create(t, s, "keep")
	link := func(id, name string) { // a name as a container of that id has it
		t.Helper()
		if err := os.WriteFile(s.linkPath(name), []byte(`{"Id":"`+id+`","more":1}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	half := ident.New() // killed in create, after config.json
	os.Mkdir(s.Dir(half), 0o700)
	link(half, "half")
	removed := create(t, s, "removed") // killed in remove
	os.Remove(s.Dir(removed.ID) + "/state.json")
	link(ident.New(), "dangling")
	link(keep.ID, "oldname") // killed in rename
	stale := ident.New()
	s.MakeStateDir(stale)
	busy := ident.New() // being created
	os.Mkdir(s.Dir(busy), 0o700)
	lk, err := s.lock(busy)
	if err != nil {
		t.Fatal(err)
	}
	link(busy, "busy")
	os.WriteFile(s.linkPath("junk"), []byte("junk"), 0o600)

	if states, err := s.States(); err != nil || len(states) != 1 {
		t.Errorf("halves are listed: %+v, %v", states, err)
	}
	if _, err := s.Resolve("junk"); !errors.Is(err, errdefs.Internal) {
		t.Errorf("a damaged name: %v", err)
	}
	if _, err := s.Resolve("half"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("a half container is found: %v", err)
	}
	if err := s.Create(record("busy"), atomicfile.Atomic); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("the name of a container being made: %v", err)
	}
	reuse := create(t, s, "dangling")
	ids, err := s.GC()
	if err != nil || len(ids) != 2 {
		t.Errorf("GC removed %v, %v", ids, err)
	}
	for name, want := range map[string]string{"keep": keep.ID, "dangling": reuse.ID, "busy": busy, "half": "", "removed": "", "oldname": ""} {
		if id, _ := s.lookup(name); id != want {
			t.Errorf("name %s leads to %q, want %q", name, id, want)
		}
	}
	if pathExists(s.Dir(half)) || pathExists(s.Dir(removed.ID)) || pathExists(s.StateDir(stale)) || !pathExists(s.Dir(busy)) {
		t.Error("the wrong directories are left")
	}
	lk.release()
	if ids, err := s.GC(); err != nil || len(ids) != 1 || ids[0] != busy {
		t.Errorf("second GC: %v, %v", ids, err)
	}
	create(t, s, "half")
}

// TestCreateBesideGC: a GC at any moment of a create does not break it.
func TestCreateBesideGC(t *testing.T) {
	s := newStore(t)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if ids, err := s.GC(); err != nil || len(ids) > 1 {
					t.Errorf("GC: %v, %v", ids, err)
				}
			}
		}
	})
	for i := range 100 {
		r := create(t, s, fmt.Sprintf("c%d", i))
		if err := s.Remove(r.ID); err != nil {
			t.Error(err)
		}
	}
	close(done)
	wg.Wait()
}

func BenchmarkStates(b *testing.B) {
	s := newStore(b)
	for i := range 250 {
		create(b, s, fmt.Sprintf("container%d", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if states, err := s.States(); err != nil || len(states) != 250 {
			b.Fatal(err)
		}
	}
}

func benchmarkState() State {
	return State{
		ID: ident.New(), Name: "wise_drake", Created: time.Now().UTC(), Image: "busybox:latest", ImageID: "sha256:" + ident.New(), Command: "sleep 600",
		Status: Running, PID: 4711, PIDStart: 1234567, MonitorPID: 4710, BootID: "5b5d6c1e-0e4a-4a4c-9d5e-1f2a3b4c5d6e", StartedAt: time.Now().UTC(),
		NetworkMode: "bridge", Labels: map[string]string{"com.example.service": "web"}, Ports: []Port{{IP: "0.0.0.0", PrivatePort: 80, PublicPort: 8080, Type: "tcp"}},
		Network: Network{Bridge: "berth0", SandboxID: ident.New(), Networks: map[string]Endpoint{"bridge": {NetworkID: ident.New(), IPAddress: "172.17.0.2", Gateway: "172.17.0.1", IPPrefixLen: 16}}},
	}
}

func BenchmarkParseState(b *testing.B) {
	st := benchmarkState()
	text := appendState(nil, &st)
	b.Run("own", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, whole, err := parseState(text); err != nil || !whole {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var st State
			if err := json.Unmarshal(text, &st); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	s := newStore(b)
	r := create(b, s, "web")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Update(r.ID, func(st *State) error { st.RestartCount++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateRemove(b *testing.B) {
	s := newStore(b)
	b.ReportAllocs()
	for b.Loop() {
		r := create(b, s, "web")
		if err := s.Remove(r.ID); err != nil {
			b.Fatal(err)
		}
	}
}
