package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/container"
	"berth/internal/container/events"
	"berth/internal/container/logs"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/linux/process"
)

// put stores a container that change has made what the test needs. Each is a
// minute younger than the one before.
func put(t testing.TB, e *Engine, name string, status container.Status, change func(*container.Record)) string {
	t.Helper()
	states, err := e.store.States()
	must(t, err)
	r := &container.Record{ID: ident.New(), Created: time.Date(2026, 1, 1, 0, len(states), 0, 0, time.UTC), Path: "sh"}
	r.Config.Image, r.HostConfig.NetworkMode = "busybox", "bridge"
	if change != nil {
		change(r)
	}
	r.State = container.InitialState(r, name)
	r.State.Status = status
	if status != container.Created {
		r.State.StartedAt = r.Created.Add(time.Second)
	}
	if status.Live() { // this very process plays PID 1
		r.State.PID, r.State.BootID = os.Getpid(), process.BootID()
		r.State.PIDStart, err = process.StartTime(os.Getpid())
		must(t, err)
	}
	if status == container.Restarting { // or its monitor, between two runs
		r.State.PID, r.State.PIDStart, r.State.MonitorPID = 0, 0, os.Getpid()
	}
	if status == container.Exited {
		r.State.ExitCode = 3
	}
	must(t, e.store.Create(r, atomicfile.Atomic))
	return r.ID
}

// names lists the selected containers in order.
func names(t testing.TB, e *Engine, o ListOptions) string {
	t.Helper()
	list, err := e.Containers.List(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range list {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func TestList(t *testing.T) {
	e := testEngine(t)
	if got := names(t, e, ListOptions{All: true}); got != "" {
		t.Errorf("an empty root has %q", got)
	}
	base := testImage{layers: "one", tags: "busybox:latest"}.add(t, e)
	child := testImage{layers: "one two", tags: "app:1", parent: base}.add(t, e)
	put(t, e, "new", container.Created, func(r *container.Record) { r.ImageID = child })
	put(t, e, "web", container.Running, func(r *container.Record) {
		r.ImageID, r.Config.Labels = base, map[string]string{"tier": "front", "x": ""}
		r.HostConfig.PortBindings = map[string][]container.PortBinding{"80/tcp": {{HostPort: "8080"}}}
		r.Config.ExposedPorts = map[string]struct{}{"80/tcp": {}, "53/udp": {}}
		r.Mounts = []container.MountPoint{{Type: "volume", Name: "data", Destination: "/data"}}
	})
	put(t, e, "web-2", container.Paused, func(r *container.Record) {
		r.Config.Labels, r.HostConfig.NetworkMode = map[string]string{"tier": "back"}, "none"
	})
	id := put(t, e, "old", container.Exited, nil)
	for _, c := range []struct {
		o    ListOptions
		want string
	}{
		{ListOptions{}, "web-2 web"},
		{ListOptions{All: true}, "old web-2 web new"},
		{ListOptions{Last: 1}, "old"},
		{ListOptions{Last: 3}, "old web-2 web"},
		{ListOptions{Filters: Filters{"status": {"exited", "created"}}}, "old new"},
		{ListOptions{Filters: Filters{"status": {"paused"}}}, "web-2"},
		{ListOptions{All: true, Last: 1, Filters: Filters{"name": {"web"}}}, "web-2"},
		{ListOptions{Filters: Filters{"name": {"^/?web$"}}}, "web"},
		{ListOptions{Filters: Filters{"name": {"web"}}}, "web-2 web"},
		{ListOptions{All: true, Filters: Filters{"id": {id[:8]}}}, "old"},
		{ListOptions{Filters: Filters{"label": {"tier"}}}, "web-2 web"},
		{ListOptions{Filters: Filters{"label": {"tier=front", "x"}}}, "web"},
		{ListOptions{Filters: Filters{"label": {"tier=front", "y"}}}, ""},
		{ListOptions{All: true, Filters: Filters{"ancestor": {"busybox"}}}, "web new"},
		{ListOptions{All: true, Filters: Filters{"ancestor": {"app:1"}}}, "new"},
		{ListOptions{All: true, Filters: Filters{"ancestor": {"absent"}}}, ""},
		{ListOptions{All: true, Filters: Filters{"before": {"web-2"}}}, "web new"},
		{ListOptions{All: true, Filters: Filters{"since": {"web"}}}, "old web-2"},
		{ListOptions{All: true, Filters: Filters{"exited": {"3"}}}, "old"},
		{ListOptions{All: true, Filters: Filters{"exited": {"0"}}}, ""},
		{ListOptions{Filters: Filters{"network": {"none"}}}, "web-2"},
		{ListOptions{Filters: Filters{"health": {"none"}}}, "web-2 web"},
		{ListOptions{Filters: Filters{"health": {"healthy"}}}, ""},
		{ListOptions{Filters: Filters{"volume": {"data"}}}, "web"},
		{ListOptions{Filters: Filters{"volume": {"/data"}}}, "web"},
		{ListOptions{Filters: Filters{"volume": {"other"}}}, ""},
		{ListOptions{Filters: Filters{"publish": {"80"}}}, "web"},
		{ListOptions{Filters: Filters{"publish": {"79-81/tcp"}}}, "web"},
		{ListOptions{Filters: Filters{"publish": {"53/udp"}}}, ""},
		{ListOptions{Filters: Filters{"expose": {"50-60/udp"}}}, "web"},
		{ListOptions{Filters: Filters{"expose": {"53"}}}, ""},
	} {
		if got := names(t, e, c.o); got != c.want {
			t.Errorf("%+v: %q, want %q", c.o, got, c.want)
		}
	}
	for _, f := range []Filters{{"color": {"red"}}, {"status": {"ended"}}, {"exited": {"x"}}, {"publish": {"81-80"}}, {"expose": {"http"}}, {"health": {"well"}}} {
		if _, err := e.Containers.List(context.Background(), ListOptions{Filters: f}); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%v: %v", f, err)
		}
	}
	if _, err := e.Containers.List(context.Background(), ListOptions{Filters: Filters{"before": {"nobody"}}}); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("before nobody: %v", err)
	}
}

func TestListSizes(t *testing.T) {
	e := testEngine(t)
	testImage{layers: "one two", tags: "busybox:latest"}.add(t, e)
	id := testContainer(t, e, "busybox", "web", container.Created)
	must(t, os.WriteFile(filepath.Join(e.snapshots.Diff(id), "file"), make([]byte, 1234), 0o644))
	list, err := e.Containers.List(context.Background(), ListOptions{All: true, Size: true})
	must(t, err)
	if len(list) != 1 || list[0].SizeRw != 1234 || list[0].SizeRootFs != 1234+6 {
		t.Errorf("sizes %+v", list)
	}
	in, err := e.Containers.Inspect(context.Background(), "web", true)
	must(t, err)
	if in.SizeRw != 1234 || in.GraphDriver["UpperDir"] != e.snapshots.Diff(id) || in.LogPath != e.logPath(id) || in.HostsPath != "" || in.State.Name != "web" {
		t.Errorf("inspection %+v", in)
	}
}

func TestRename(t *testing.T) {
	e := testEngine(t)
	put(t, e, "one", container.Exited, nil)
	put(t, e, "two", container.Exited, nil)
	ctx := context.Background()
	if err := e.Containers.Rename(ctx, "one", "two"); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("a taken name: %v", err)
	}
	must(t, e.Containers.Rename(ctx, "one", "three"))
	if got := names(t, e, ListOptions{All: true}); got != "two three" {
		t.Errorf("names %q", got)
	}
	if err := e.Containers.Rename(ctx, "one", "four"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("a name that is gone: %v", err)
	}
	var seen []Event
	must(t, e.System.Events(ctx, time.Now().Add(-time.Minute), time.Now(), nil, func(ev Event) error { seen = append(seen, ev); return nil }))
	if len(seen) != 1 || seen[0].Action != "rename" || seen[0].Attr["name"] != "three" {
		t.Errorf("events %+v", seen)
	}
}

func TestPrune(t *testing.T) {
	e := testEngine(t)
	testImage{layers: "one", tags: "busybox:latest"}.add(t, e)
	old := testContainer(t, e, "busybox", "old", container.Exited)
	must(t, os.WriteFile(filepath.Join(e.snapshots.Diff(old), "file"), make([]byte, 100), 0o644))
	testContainer(t, e, "busybox", "up", container.Running)
	put(t, e, "keep", container.Created, func(r *container.Record) { r.Config.Labels = map[string]string{"keep": "1"} })
	ctx := context.Background()
	if ids, _, err := e.Containers.Prune(ctx, Filters{"until": {"2020-01-01"}}); err != nil || len(ids) != 0 {
		t.Errorf("until: %v, %v", ids, err)
	}
	if ids, _, err := e.Containers.Prune(ctx, Filters{"label": {"none"}}); err != nil || len(ids) != 0 {
		t.Errorf("label: %v, %v", ids, err)
	}
	ids, freed, err := e.Containers.Prune(ctx, Filters{"label!": {"keep"}})
	if err != nil || len(ids) != 1 || ids[0] != old || freed != 100 {
		t.Errorf("prune: %v, %d, %v", ids, freed, err)
	}
	if got := names(t, e, ListOptions{All: true}); !strings.Contains(got, "up") || !strings.Contains(got, "keep") || strings.Contains(got, "old") {
		t.Errorf("left are %q", got)
	}
	if _, _, err := e.Containers.Prune(ctx, Filters{"name": {"x"}}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a filter that is none: %v", err)
	}
}

func TestLogs(t *testing.T) {
	e := testEngine(t)
	id := put(t, e, "web", container.Running, nil)
	w, err := logs.OpenWriter(e.logPath(id), logs.Options{})
	must(t, err)
	must(t, w.Write(logs.Stdout, []byte("one\ntwo\n"), time.Now()))
	ctx := context.Background()
	read := func(o LogOptions) (got string) {
		must(t, e.Containers.Logs(ctx, "web", o, func(l LogLine) error { got += fmt.Sprintf("%v:%s", l.Stderr, l.Data); return nil }))
		return got
	}
	if got := read(LogOptions{Tail: -1, Stdout: true, Stderr: true}); got != "false:one\nfalse:two\n" {
		t.Errorf("logs: %q", got)
	}
	go func() { // what the monitor does at the end
		time.Sleep(30 * time.Millisecond)
		w.Write(logs.Stderr, []byte("last words"), time.Now())
		w.Close()
		e.store.Update(id, func(s *container.State) error { s.Status, s.PID = container.Exited, 0; return nil })
	}()
	if got := read(LogOptions{Tail: 1, Stdout: true, Stderr: true, Follow: true}); got != "false:two\ntrue:last words" {
		t.Errorf("follow: %q", got)
	}
	put(t, e, "mute", container.Exited, func(r *container.Record) { r.HostConfig.LogConfig.Type = "none" })
	if err := e.Containers.Logs(ctx, "mute", LogOptions{}, nil); !errors.Is(err, errdefs.Unsupported) {
		t.Errorf("driver none: %v", err)
	}
}

func TestWait(t *testing.T) {
	e := testEngine(t)
	put(t, e, "old", container.Exited, nil)
	ctx := context.Background()
	if code, err := e.Containers.Wait(ctx, "old"); err != nil || code != 3 {
		t.Errorf("a stopped container: %d, %v", code, err)
	}
	if _, err := e.Containers.Wait(ctx, "nobody"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("nobody: %v", err)
	}
	// A container whose monitor is gone: the record tells.
	id := put(t, e, "web", container.Restarting, nil)
	time.AfterFunc(50*time.Millisecond, func() {
		e.store.Update(id, func(s *container.State) error { s.Status, s.ExitCode = container.Exited, 7; return nil })
	})
	if code, err := e.waitWithin(t, "web"); err != nil || code != 7 {
		t.Errorf("the record: %d, %v", code, err)
	}
	// One that is removed at its end: the journal tells.
	gone := put(t, e, "gone", container.Restarting, nil)
	time.AfterFunc(50*time.Millisecond, func() {
		e.emit("container", "die", gone, container.State{ExitCode: 9})
		e.store.Remove(gone)
	})
	if code, err := e.waitWithin(t, "gone"); err != nil || code != 9 {
		t.Errorf("the journal: %d, %v", code, err)
	}
}

func (e *Engine) waitWithin(t *testing.T, ref string) (int, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return e.Containers.Wait(ctx, ref)
}

func TestSelectsEvent(t *testing.T) {
	start := events.Event{Type: "container", Action: "start", ID: "abcdef", Attr: map[string]string{"name": "web", "image": "busybox:1", "tier": "front"}}
	pull := events.Event{Type: "image", Action: "pull", ID: "sha256:1234", Attr: map[string]string{"name": "localhost:5000/app:2"}}
	exec := events.Event{Type: "container", Action: "exec_start: sh -c x", ID: "abcdef", Attr: map[string]string{"name": "web"}}
	for _, c := range []struct {
		f                 Filters
		start, pull, exec bool
	}{
		{nil, true, true, true},
		{Filters{"type": {"image"}}, false, true, false},
		{Filters{"event": {"start", "exec_start"}}, true, false, true},
		{Filters{"event": {"exec_start: sh -c x"}}, false, false, true},
		{Filters{"container": {"web"}}, true, false, true},
		{Filters{"container": {"/web"}}, true, false, true},
		{Filters{"container": {"abc"}}, true, false, true},
		{Filters{"container": {"bcd"}}, false, false, false},
		{Filters{"image": {"busybox"}}, true, false, false},
		{Filters{"image": {"busybox:2"}}, false, false, false},
		{Filters{"image": {"localhost:5000/app"}}, false, true, false},
		{Filters{"image": {"1234"}}, false, true, false},
		{Filters{"label": {"tier=front"}}, true, false, false},
		{Filters{"scope": {"swarm"}}, false, false, false},
		{Filters{"network": {"bridge"}}, false, false, false},
	} {
		for e, want := range map[*events.Event]bool{&start: c.start, &pull: c.pull, &exec: c.exec} {
			if got := selectsEvent(c.f, e); got != want {
				t.Errorf("%v on %s %s: %v", c.f, e.Type, e.Action, got)
			}
		}
	}
	if err := testEngine(t).System.Events(context.Background(), time.Now(), time.Now(), Filters{"color": {"red"}}, nil); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a filter that is none: %v", err)
	}
}
