package export

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/build/plan"
	"berth/internal/build/portable"
	"berth/internal/build/solve"
	"berth/internal/image/catalog"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/reference"
)

// elsewhere is another machine: a data root with the same base image.
func (w *world) elsewhere() *world {
	w.Helper()
	other := newWorld(w.TB)
	other.context = w.context
	if other.base.ID != w.base.ID {
		w.Fatal("the base images differ")
	}
	return other
}

// twoStages is a plan whose target copies from a stage and goes on.
func (w *world) twoStages(last string) *plan.Plan {
	h := func(text string) oci.History { return oci.History{CreatedBy: text} }
	run := func(name, text string) plan.Step {
		return plan.Step{Text: "RUN " + name + " " + text, Op: &plan.Run{Args: []string{name, text}}, History: h("RUN " + name)}
	}
	build := &plan.Stage{Name: "build", Index: 0, Text: "FROM base AS build", Base: plan.Base{Image: w.base}, Config: w.base.Config, Steps: []plan.Step{
		run("tool", "made"),
		{Text: "COPY app /src", Op: &plan.Copy{Paths: []string{"/app"}, Dest: "/src"}, History: h("COPY app")},
		run("out", "compiled"),
	}}
	final := &plan.Stage{Name: "1", Index: 1, Text: "FROM base", Base: plan.Base{Image: w.base}, Config: w.base.Config, Steps: []plan.Step{
		run("first", "1"),
		{Text: "COPY --from=build /out /bin/out", Op: &plan.Copy{From: plan.Source{Stage: build}, Paths: []string{"/out"}, Dest: "/bin/out"}, History: h("COPY --from")},
		{Text: "RUN mount", Op: &plan.Run{Args: []string{"third", last}, Mounts: []plan.Mount{{Type: plan.MountBind, From: plan.Source{Stage: build}, Target: "/m", Path: "/tool", ReadOnly: true}}}, History: h("RUN")},
	}}
	return &plan.Plan{Platform: oci.HostPlatform(), Stages: []*plan.Stage{build, final}}
}

func (w *world) export(dir string, max bool, results ...*solve.Result) {
	w.Helper()
	must(w, Cache(w.Context(), results, CacheOptions{DataRoot: w.root, Name: dir, Place: portable.NewDirectory(dir), Tag: "latest", All: max}))
}

func load(t testing.TB, dir string) *portable.Imports {
	t.Helper()
	c, err := portable.Load(t.Context(), portable.NewDirectory(dir), "local:"+dir, "latest", oci.HostPlatform())
	must(t, err)
	i := &portable.Imports{Warn: func(s string) { t.Error("warned: " + s) }}
	i.Add(c)
	return i
}

func from(i *portable.Imports) func(*solve.Options) { return func(o *solve.Options) { o.Imports = i } }

func everything(o *solve.Options) { o.Everything = true }

// A machine that has nothing finds all steps of another one, in both modes, and
// fetches the layers of the result alone.
func TestCacheOnAnotherMachine(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.twoStages("x"), everything)
	image := w.image(r, ImageOptions{})
	for _, max := range []bool{false, true} {
		dir := t.TempDir() + "/cache"
		w.export(dir, max, r)
		blobs, err := os.ReadDir(dir + "/blobs/sha256")
		must(t, err)
		if want := map[bool]int{false: 3, true: 6}[max] + 2; len(blobs) != want {
			t.Errorf("max %v: %d blobs, want %d", max, len(blobs), want)
		}
		other := w.elsewhere()
		got := other.solve(other.twoStages("x"), from(load(t, dir)))
		if !got.Cached || other.runs != 0 || len(got.Layers) != 3 {
			t.Errorf("max %v: cached %v, %d runs, %d layers", max, got.Cached, other.runs, len(got.Layers))
		}
		if n := layers(t, other.root) - layers(t, newWorld(t).root); n != 3 {
			t.Errorf("max %v: %d layers were brought", max, n)
		}
		if img := other.image(got, ImageOptions{}); img.ID != image.ID {
			t.Errorf("max %v: another image: %s\n%s", max, img.Raw, image.Raw)
		}
		if other.files(got) != w.files(r) {
			t.Errorf("max %v: other files: %s", max, other.files(got))
		}
		// Now they are steps of its own cache.
		alone := other.solve(other.twoStages("x"))
		if other.runs != 2 { // the stage that nobody needed
			t.Errorf("max %v: %d runs without the cache from elsewhere", max, other.runs)
		}
		if alone.Layers[2].ID != got.Layers[2].ID {
			t.Error("the result was made anew")
		}
		// What it writes is the same again: the keys of what it did not need go along.
		again := t.TempDir() + "/again"
		other.export(again, false, got)
		i := load(t, again)
		third := w.elsewhere()
		if r := third.solve(third.twoStages("x"), from(i)); !r.Cached || third.runs != 0 {
			t.Errorf("max %v: at third hand cached %v, %d runs", max, r.Cached, third.runs)
		}
	}
}

func layers(t testing.TB, root string) int {
	entries, err := os.ReadDir(root + "/overlay2")
	must(t, err)
	return len(entries)
}

// A change needs what lies under it, and with mode=max nothing else has to be made.
func TestCacheAfterAChange(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.twoStages("x"), everything)
	for max, want := range map[bool]int{
		true:  1, // the changed step
		false: 3, // and the stage that it reads from, whose files were not written
	} {
		dir := t.TempDir() + "/cache"
		w.export(dir, max, r)
		other := w.elsewhere()
		got := other.solve(other.twoStages("changed"), from(load(t, dir)))
		if other.runs != want || got.Cached {
			t.Errorf("max %v: %d runs, want %d", max, other.runs, want)
		}
		if files := other.files(got); files != w.files(r) {
			t.Errorf("files %s", files)
		}
	}
	// Another context: what was copied of it is made again, and what follows.
	dir := t.TempDir() + "/cache"
	w.export(dir, true, r)
	other := w.elsewhere()
	other.context = t.TempDir()
	must(t, os.WriteFile(other.context+"/app", []byte("another"), 0o755))
	other.solve(other.twoStages("x"), from(load(t, dir)))
	if other.runs != 1 { // "out", whose result is the same; the copies of it are found
		t.Errorf("with another context %d runs", other.runs)
	}
	// --no-cache looks nowhere.
	fresh := w.elsewhere()
	fresh.solve(fresh.twoStages("x"), from(load(t, dir)), noCache)
	if fresh.runs != 4 {
		t.Errorf("without the cache %d runs", fresh.runs)
	}
}

// Whatever is wrong with layers is found out, told once, and costs only time.
func TestDamagedCache(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.twoStages("x"), everything)
	for name, damage := range map[string]func(path string){
		"other bytes": func(path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			b[len(b)/2] ^= 1
			must(t, os.WriteFile(path, b, 0o644))
		},
		"no gzip": func(path string) {
			b, err := os.ReadFile(path)
			must(t, err)
			must(t, os.WriteFile(path, bytes.Repeat([]byte{7}, len(b)), 0o644))
		},
	} {
		for _, max := range []bool{false, true} {
			dir := t.TempDir() + "/cache"
			w.export(dir, max, r)
			i := load(t, dir)
			warned := []string{}
			i.Warn = func(s string) { warned = append(warned, s) }
			blobs, err := filepath.Glob(dir + "/blobs/sha256/*")
			must(t, err)
			for _, path := range blobs {
				if b, err := os.ReadFile(path); err == nil && !json.Valid(b) {
					damage(path)
				}
			}
			other := w.elsewhere()
			got := other.solve(other.twoStages("x"), from(i))
			if other.files(got) != w.files(r) || other.runs != 4 {
				t.Errorf("%s, max %v: %d runs, %s", name, max, other.runs, other.files(got))
			}
			if len(warned) != 1 || !strings.Contains(warned[0], "local:") {
				t.Errorf("%s, max %v: warned %q", name, max, warned)
			}
			if n := len(must1(filepath.Glob(other.root + "/overlay2/.draft-*"))(t)); n != 0 {
				t.Errorf("%d drafts are left", n)
			}
		}
	}
}

func must1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T { must(t, err); return v }
}

// The cache inside an image: of the image in the store no layer has to be
// fetched, and in an archive it goes along.
func TestInlineCache(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.twoStages("x"))
	img := w.image(r, ImageOptions{Inline: true, Names: []reference.Named{named(t, "cached:1")}})
	var archive bytes.Buffer
	_, err := Archive(t.Context(), &archive, []*solve.Result{r}, ArchiveOptions{DataRoot: w.root, Inline: true, Names: []reference.Named{named(t, "cached:1")}})
	must(t, err)
	other := w.elsewhere()
	_, err = transfer.New(other.root, 0).Load(t.Context(), &archive, transfer.LoadOptions{})
	must(t, err)
	loaded, err := catalog.Open(other.root).Resolve("cached:1")
	must(t, err)
	if loaded.ID != img.ID {
		t.Errorf("the archive's image is another one")
	}
	doc, err := portable.ParseInline(loaded.Raw)
	must(t, err)
	i := &portable.Imports{Warn: func(s string) { t.Error(s) }}
	i.Add(portable.NewImport("cached:1", doc, nil))
	before := layers(t, other.root)
	got := other.solve(other.twoStages("x"), from(i))
	if !got.Cached || other.runs != 0 || layers(t, other.root) != before {
		t.Errorf("cached %v, %d runs, %d layers more", got.Cached, other.runs, layers(t, other.root)-before)
	}
	if again := other.image(got, ImageOptions{Inline: true}); again.ID != img.ID {
		t.Errorf("another image:\n%s\n%s", again.Raw, img.Raw)
	}
	if plain := w.image(r, ImageOptions{}); plain.ID == img.ID || bytes.Contains(plain.Raw, []byte("berth.build.cache")) {
		t.Error("an image has a cache that was not asked for")
	}
}

// A directory that is written to again holds what its tags lead to, and no more.
func TestCacheDirectoryIsSwept(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir() + "/cache"
	w.export(dir, false, w.solve(w.twoStages("x")))
	other := portable.NewDirectory(dir)
	must(t, Cache(t.Context(), []*solve.Result{w.solve(w.twoStages("y"))}, CacheOptions{DataRoot: w.root, Place: other, Tag: "branch"}))
	blobs := func() int { return len(must1(filepath.Glob(dir + "/blobs/sha256/*"))(t)) }
	both := blobs()
	w.export(dir, false, w.solve(w.twoStages("z")))
	if n := blobs(); n != both {
		t.Errorf("%d blobs, before %d", n, both)
	}
	for _, tag := range []string{"latest", "branch"} {
		if _, err := portable.Load(context.Background(), other, "x", tag, oci.HostPlatform()); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
	}
	// With a manifest of somebody else's nothing is deleted.
	x, err := os.ReadFile(dir + "/index.json")
	must(t, err)
	must(t, os.WriteFile(dir+"/index.json", bytes.Replace(x, []byte(`"manifests":[`), []byte(`"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"`+string(oci.DigestOf(nil))+`","size":5},`), 1), 0o644))
	w.export(dir, false, w.solve(w.twoStages("other")))
	if n := blobs(); n <= both {
		t.Errorf("%d blobs, before %d", n, both)
	}
}
