package solve

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

func TestStepsAndHistory(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"app": "program"})
	build := func() *plan.Plan {
		return planOf(w.from("0",
			env("A=1"),
			sh("write", "/made", "x"),
			sh("true"),
			plan.Step{Text: "WORKDIR /srv/web", Op: &plan.MakeDir{Path: "/srv/web", User: "web"}, History: oci.History{CreatedBy: "WORKDIR /srv/web"}},
			plan.Step{Text: "WORKDIR /srv/web", Op: &plan.MakeDir{Path: "/srv/web"}, History: oci.History{CreatedBy: "again"}},
			cp(plan.Copy{Paths: []string{"/app"}, Dest: "/srv/web/", Chown: "web"}),
		))
	}
	r := w.solve(build())
	w.wantFile(r, "made=x")
	w.wantFile(r, "srv/web/app=program")
	if len(r.Layers) != 3 || r.Cached {
		t.Errorf("layers %+v, cached %v", r.Layers, r.Cached)
	}
	var history []string
	for _, h := range r.Config.History {
		line := h.CreatedBy
		if h.EmptyLayer {
			line += " (empty)"
		}
		if h.Created == nil {
			t.Errorf("%s has no time", h.CreatedBy)
		}
		history = append(history, line)
	}
	want := []string{"base", "ENV A=1 (empty)", "RUN write /made x", "RUN true (empty)", "WORKDIR /srv/web", "again (empty)", "COPY /app /srv/web/"}
	if !slices.Equal(history, want) {
		t.Errorf("history %q", history)
	}
	tree, err := snapshot.Open(w.root).MountTree(t.Context(), r.TopLayer)
	must(t, err)
	defer tree.Close()
	for _, path := range []string{"/srv/web", "/srv", "/srv/web/app"} {
		st, err := rootpath.Stat(tree, path)
		must(t, err)
		if st.Uid != 33 || st.Gid != 34 {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
	}
	if log := w.log.String(); !strings.Contains(log, "1/7 [1/6] FROM base AS 0 started\n[1/6] FROM base AS 0 cached\n2/7 [1/6] ENV A=1 started") ||
		!strings.Contains(log, "3/7 [2/6] RUN write /made x started\n[2/6] RUN write /made x running\n[2/6] RUN write /made x done") {
		t.Error(log)
	}

	w.log.reset()
	again := w.solve(build())
	if !again.Cached || again.TopLayer != r.TopLayer || w.runner.count("true") != 1 || w.runner.count("write", "/made", "x") != 1 {
		t.Errorf("the second build did something: %+v", w.runner.ran)
	}
	if !again.Config.Created.Equal(*r.Config.Created) {
		t.Errorf("created %v, then %v", r.Config.Created, again.Config.Created)
	}
	if log := w.log.String(); strings.Contains(log, "running") || !strings.Contains(log, "[3/6] RUN true cached") {
		t.Error(log)
	}
	// Other content, other layer; what is above changes with it, what is below does not.
	write(t, w.context, map[string]string{"app": "other"})
	w.wantFile(w.solve(build()), "srv/web/app=other")
	if w.runner.count("true") != 1 {
		t.Error("steps below the change ran again")
	}
}

func TestStagesInParallelAndNeeded(t *testing.T) {
	w := newWorld(t)
	w.runner.delay = 300 * time.Millisecond
	w.o.Parallel = 4
	one, two := w.from("one", sh("write", "/1", "a")), w.from("two", sh("write", "/2", "b"))
	never := w.from("never", sh("fail"))
	last := w.from("last", cp(plan.Copy{From: plan.Source{Stage: one}, Paths: []string{"/1"}, Dest: "/"}), cp(plan.Copy{From: plan.Source{Stage: two}, Paths: []string{"/2"}, Dest: "/"}))
	top := &plan.Stage{Name: "top", Text: "FROM last AS top", Base: plan.Base{Stage: last}, Steps: []plan.Step{env("B=2")}}
	r := w.solve(planOf(one, two, never, last, top))
	w.wantFile(r, "1=a")
	w.wantFile(r, "2=b")
	if w.runner.most.Load() < 2 {
		t.Error("the stages did not run at the same time")
	}
	if w.runner.count("fail") != 0 {
		t.Error("a stage that nobody needs was built")
	}
	if len(r.Layers) != 2 || len(r.Config.History) != 4 || r.Base != w.base {
		t.Errorf("layers %d, history %+v", len(r.Layers), r.Config.History)
	}
	if log := w.log.String(); strings.Contains(log, "never") || !strings.Contains(log, "7/9 [last 3/3] COPY /2 / started") {
		t.Error(log)
	}
}

// A stage that was made anew with the same content does not disturb what only copied from it.
func TestContentDecides(t *testing.T) {
	w := newWorld(t)
	build := func() *plan.Plan {
		one := w.from("one", sh("write", "/1", "a"))
		return planOf(one, w.from("last", cp(plan.Copy{From: plan.Source{Stage: one}, Paths: []string{"/1"}, Dest: "/"}), sh("true")))
	}
	first := w.solve(build())
	w.o.NoCacheStages = []string{"one"}
	second := w.solve(build())
	if w.runner.count("write", "/1", "a") != 2 || w.runner.count("true") != 1 || first.TopLayer != second.TopLayer {
		t.Errorf("ran %v", w.runner.ran)
	}
}

// A layer that was made anew takes those above it with it: its record is replaced.
func TestNoCache(t *testing.T) {
	w := newWorld(t)
	build := func() *plan.Plan {
		return planOf(w.from("0", sh("write", "/1", "a"), sh("write", "/2", "b")))
	}
	w.solve(build())
	w.o.NoCache = true
	anew := w.solve(build())
	w.o.NoCache = false
	if cached := w.solve(build()); cached.TopLayer != anew.TopLayer || !cached.Cached || w.runner.count("write", "/2", "b") != 2 {
		t.Errorf("ran %v", w.runner.ran)
	}
}

func TestFirstErrorStopsTheOthers(t *testing.T) {
	w := newWorld(t)
	slow := w.from("slow", sh("slow"))
	bad := w.from("bad", sh("fail"))
	last := w.from("last", cp(plan.Copy{From: plan.Source{Stage: slow}, Paths: []string{"/"}, Dest: "/"}), cp(plan.Copy{From: plan.Source{Stage: bad}, Paths: []string{"/"}, Dest: "/"}))
	p := planOf(slow, bad, last)
	w.o.Parallel = 2
	_, err := Solve(t.Context(), p, w.o)
	var where *StepError
	var exit *ExitError
	if !errors.As(err, &where) || where.Stage != "bad" || where.Line != 102 || !errors.As(err, &exit) || exit.Code != 3 {
		t.Fatalf("error %v", err)
	}
	if log := w.log.String(); !strings.Contains(log, "[bad 2/2] RUN fail 2: no luck") {
		t.Error(log)
	}
	w.empty()
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.runner.started = make(chan struct{})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-w.runner.started
		cancel(errEnough)
	}()
	_, err := Solve(ctx, planOf(w.from("0", sh("slow"))), w.o)
	if !errors.Is(err, errdefs.Cancelled) && !errors.Is(err, errEnough) {
		t.Errorf("error %v", err)
	}
	w.empty()
}

// empty checks that nothing but the base image is left once the cache is pruned.
func (w *world) empty() {
	w.Helper()
	for _, r := range w.results {
		must(w, r.Close())
	}
	_, err := cache.Open(w.root).Prune(w.Context(), cache.PruneOptions{All: true})
	must(w, err)
	if n := w.layersOnDisk(); n != 1 {
		out, _ := os.ReadDir(snapshot.Open(w.root).Dir())
		w.Errorf("%d layers are left: %v", n, out)
	}
}

// Builds that do the same do it once, however many they are.
func TestEqualStepsRunOnce(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"app": "program"})
	w.runner.delay = 20 * time.Millisecond
	var all sync.WaitGroup
	tops := make([]string, 64)
	for i := range tops {
		all.Go(func() {
			one := w.from("one", sh("write", "/1", "a"), sh("write", "/2", "b"))
			p := planOf(one, w.from("last", cp(plan.Copy{From: plan.Source{Stage: one}, Paths: []string{"/1", "/2"}, Dest: "/x/"}),
				cp(plan.Copy{Paths: []string{"/app"}, Dest: "/l/", Link: true}), sh("write", "/3", "c"), sh("true")))
			r, err := Solve(t.Context(), p, w.o)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			tops[i] = r.TopLayer
		})
	}
	all.Wait()
	for args, n := range w.runner.ran {
		if n != 1 {
			t.Errorf("%s ran %d times", args, n)
		}
	}
	if len(w.runner.ran) != 4 || len(slices.Compact(tops)) != 1 {
		t.Errorf("ran %v, tops %v", w.runner.ran, slices.Compact(tops))
	}
	w.empty()
}

func TestCopyLink(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"app": "program"})
	other := w.image("other", map[string]string{"other": "x", "etc/passwd": "web:x:33:34::/:\n", "etc/group": ""})
	build := func(base *plan.Image, chown string) *plan.Plan {
		st := w.from("0", cp(plan.Copy{Paths: []string{"/app"}, Dest: "/a/", Link: true, Chown: chown}), sh("true"))
		st.Base.Image, st.Config = base, base.Config
		return planOf(st)
	}
	layers := snapshot.Open(w.root)
	inode := func(r *Result) uint64 {
		st, err := os.Stat(layers.Diff(r.Layers[0].ID) + "/a/app")
		must(t, err)
		return st.Sys().(*syscall.Stat_t).Ino
	}
	one := w.solve(build(w.base, "web"))
	two := w.solve(build(other, "33:34"))
	w.wantFile(two, "a/app=program")
	w.wantFile(two, "other=x")
	if inode(one) != inode(two) || one.TopLayer == two.TopLayer {
		t.Error("the layer on the other base is not the same files")
	}
	if log := w.log.String(); strings.Count(log, "COPY /app /a/ cached") != 1 {
		t.Error(log)
	}
	if r := w.solve(build(other, "web")); !r.Cached || r.TopLayer != two.TopLayer {
		t.Error("the names of the owner are not those of the stage")
	}
}

func TestMounts(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"src/a": "one", "src/.git/config": "private", "other": "x"})
	w.o.Context = func(context.Context, string) (*source.Tree, error) {
		tree, err := source.Dir(w.context)
		if err == nil {
			tree.Ignore = func(rel string, _ bool) (bool, bool) { return strings.Contains(rel, ".git"), true }
		}
		return tree, err
	}
	run := func(m plan.Mount, args ...string) plan.Step {
		s := sh(args...)
		s.Op.(*plan.Run).Mounts = []plan.Mount{m}
		return s
	}
	bind := plan.Mount{Type: plan.MountBind, Target: "/mnt/src", Path: "/src", ReadOnly: true}
	w.solve(planOf(w.from("0", run(bind, "read", "0", "/a"), run(bind, "read", "0", "/.git/config"))))
	if got := strings.Join(w.runner.seen, " "); got != "one error" {
		t.Errorf("the program saw %s", got)
	}
	// What is mounted is part of the key; what is ignored is not.
	write(t, w.context, map[string]string{"src/.git/config": "changed", "other": "y"})
	if r := w.solve(planOf(w.from("0", run(bind, "read", "0", "/a")))); !r.Cached {
		t.Error("an ignored file is part of the key")
	}
	write(t, w.context, map[string]string{"src/a": "two"})
	w.solve(planOf(w.from("0", run(bind, "read", "0", "/a"))))
	if got := w.runner.seen[len(w.runner.seen)-1]; got != "two" {
		t.Errorf("the program saw %s", got)
	}
	// What is written to a bind mount is thrown away.
	bind.ReadOnly = false
	r := w.solve(planOf(w.from("0", run(bind, "mount", "0", "/a", "mine"))))
	if len(r.Layers) != 0 {
		t.Errorf("layers %+v", r.Layers)
	}
	if b, err := os.ReadFile(w.context + "/src/a"); err != nil || string(b) != "two" {
		t.Errorf("the context holds %s, %v", b, err)
	}
	// A file, from another stage, through a link that leads out of it.
	one := w.from("one", sh("write", "/f", "file"))
	file := plan.Mount{Type: plan.MountBind, Target: "/mnt/f", From: plan.Source{Stage: one}, Path: "/f", ReadOnly: true}
	w.solve(planOf(one, w.from("last", run(file, "true"))))
	if m := w.runner.mounts[0]; !m.File || m.Path != "/f" {
		t.Errorf("mounts %+v", w.runner.mounts)
	}
	file.Path = "/absent"
	_, err := Solve(t.Context(), planOf(one, w.from("last", run(file, "true"))), w.o)
	if !errors.Is(err, errdefs.NotFound) || !strings.Contains(err.Error(), "/absent") {
		t.Errorf("a mount of nothing: %v", err)
	}
	w.empty()
}

func TestCacheMounts(t *testing.T) {
	w := newWorld(t)
	mount := func(sharing string, m plan.Mount) plan.Mount {
		m.Type, m.Target, m.ID, m.Sharing, m.Mode = plan.MountCache, "/c", "../../x", sharing, 0o755
		return m
	}
	run := func(m plan.Mount, args ...string) plan.Step {
		s := sh(args...)
		s.Op.(*plan.Run).Mounts = []plan.Mount{m}
		return s
	}
	empty := plan.Mount{From: plan.Source{Scratch: true}}
	w.solve(planOf(w.from("0", run(mount("locked", empty), "mount", "0", "kept", "yes"))))
	w.solve(planOf(w.from("0", run(mount("shared", empty), "read", "0", "/kept"))))
	if got := strings.Join(w.runner.seen, " "); got != "yes" {
		t.Errorf("the second program saw %s", got)
	}
	// With files of a stage to begin with it is another one.
	one := w.from("one", sh("write", "/d/first", "filled"))
	filled := plan.Mount{From: plan.Source{Stage: one}, Path: "/d"}
	w.solve(planOf(one, w.from("last", run(mount("private", filled), "read", "0", "/first"))))
	if got := strings.Join(w.runner.seen, " "); got != "yes filled" {
		t.Errorf("the programs saw %s", got)
	}
	// Locked: one after the other, in builds of their own.
	w.runner.delay = 30 * time.Millisecond
	w.runner.most.Store(0)
	w.o.Parallel = 8
	var all sync.WaitGroup
	for _, word := range []string{"a", "b", "c", "d"} {
		all.Go(func() {
			r, err := Solve(t.Context(), planOf(w.from("0", run(mount("locked", empty), "mount", "0", word, word))), w.o)
			if err != nil {
				t.Error(err)
				return
			}
			r.Close()
		})
	}
	all.Wait()
	if n := w.runner.most.Load(); n != 1 {
		t.Errorf("%d programs had the locked mount at once", n)
	}
	items, err := cache.Open(w.root).Usage(t.Context())
	must(t, err)
	if i := slices.IndexFunc(items, func(i cache.Item) bool { return i.Type == cache.CacheMount && i.Size == 3+4 && i.Mutable }); i < 0 {
		t.Errorf("usage %+v", items)
	}
	w.empty()
	if entries, err := os.ReadDir(w.root + "/build/mounts"); err != nil || len(entries) != 0 {
		t.Errorf("mounts left: %v, %v", entries, err)
	}
}

// A step may mount a part of a cache, also through a link: it stays inside.
func TestPartOfACache(t *testing.T) {
	w := newWorld(t)
	step := func(path string, args ...string) plan.Step {
		s := sh(args...)
		s.Op.(*plan.Run).Mounts = []plan.Mount{{
			Type: plan.MountCache, Target: "/c", ID: "x", Sharing: "shared", Mode: 0o755, From: plan.Source{Scratch: true}, Path: path,
		}}
		return s
	}
	w.solve(planOf(w.from("0", step("/", "mount", "0", "kept", "yes"))))
	dir := w.runner.mounts[0].Source.Name()
	must(t, os.Symlink("../../../../../../kept", dir+"/link"))
	must(t, os.Symlink("/etc", dir+"/out"))
	w.solve(planOf(w.from("0", step("/link", "true"))))
	if m := w.runner.mounts[0]; m.Path != "/link" || !m.File {
		t.Errorf("mounted %+v", m)
	}
	for _, path := range []string{"/absent", "/out", "/out/passwd"} {
		_, err := Solve(t.Context(), planOf(w.from("0", step(path, "true", path))), w.o)
		if !errors.Is(err, errdefs.NotFound) {
			t.Errorf("the part %s of a cache: %v", path, err)
		}
	}
	w.empty()
}

func TestSecretsAndConsent(t *testing.T) {
	w := newWorld(t)
	step := sh("read", "0", "")
	op := step.Op.(*plan.Run)
	op.Mounts = []plan.Mount{{Type: plan.MountSecret, Target: "/run/secrets/key", ID: "key", Mode: 0o400}}
	plain := sh("true")
	plain.Op.(*plan.Run).Mounts = op.Mounts
	w.solve(planOf(w.from("0", plain)))
	if len(w.runner.mounts) != 0 {
		t.Errorf("a secret that was not given is mounted: %+v", w.runner.mounts)
	}
	op.Mounts[0].Required = true
	if _, err := Solve(t.Context(), planOf(w.from("0", step)), w.o); !errors.Is(err, errdefs.NotFound) || !strings.Contains(errdefs.HintOf(err), "--secret id=key") {
		t.Errorf("a required secret that was not given: %v, %s", err, errdefs.HintOf(err))
	}
	for name, change := range map[string]func(*plan.Run){"security.insecure": func(r *plan.Run) { r.Insecure = true }, "network.host": func(r *plan.Run) { r.Network = "host" }} {
		s := sh("true")
		change(s.Op.(*plan.Run))
		if _, err := Solve(t.Context(), planOf(w.from("0", s)), w.o); !errors.Is(err, errdefs.Forbidden) || !strings.Contains(errdefs.HintOf(err), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScratchAndContextBase(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"root/bin/sh": "shell", "app": "x"})
	p := planOf(&plan.Stage{Name: "0", Text: "FROM scratch", Steps: []plan.Step{
		cp(plan.Copy{Paths: []string{"/app"}, Dest: "/"}), cp(plan.Copy{Paths: []string{"/app"}, Dest: "/b/", Link: true}), sh("write", "/c", "d"),
	}})
	r := w.solve(p)
	if got := w.files(r); !slices.Equal(got, []string{"app=x", "b/app=x", "c=d"}) {
		t.Errorf("files %q", got)
	}
	if r.Base != nil || len(r.Layers) != 3 {
		t.Errorf("%+v", r)
	}
	r = w.solve(planOf(&plan.Stage{Name: "0", Text: "FROM root", Base: plan.Base{Context: "root"}, Steps: []plan.Step{sh("true")}}))
	if got := w.files(r); !slices.Equal(got, []string{"bin/sh=shell"}) {
		t.Errorf("files %q", got)
	}
}
