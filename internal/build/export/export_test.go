package export

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/solve"
	"berth/internal/build/source"
	"berth/internal/image/catalog"
	"berth/internal/image/imagetest"
	"berth/internal/image/packing"
	"berth/internal/image/transfer"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
	"berth/internal/reference"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a data root with a pulled base image and a context.
type world struct {
	testing.TB
	root, context string
	base          *plan.Image
	mu            sync.Mutex // guards runs
	runs          int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("overlay mounts need root")
	}
	w := &world{TB: t, root: t.TempDir(), context: t.TempDir()}
	// The order of these files is none that berth would write: the tar of the
	// base is not what its directory gives.
	b := imagetest.Image{Names: []string{"base:1"}, Layers: []imagetest.Layer{
		{{Name: "z", Body: "last"}, imagetest.Dir("etc/"), {Name: "etc/motd", Body: "hi"}, {Name: "a", Body: "first"}},
		{{Name: ".wh.a"}},
	}, Config: oci.RunConfig{Env: []string{"PATH=/bin"}}}.Build()
	_, err := transfer.New(w.root, 0).Load(t.Context(), bytes.NewReader(imagetest.DockerArchive(b)), transfer.LoadOptions{})
	must(t, err)
	img, err := catalog.Open(w.root).Resolve("base:1")
	must(t, err)
	w.base = &plan.Image{Name: "base:1", ID: img.ID, Config: img.Config, TopLayer: img.TopLayer}
	must(t, os.WriteFile(w.context+"/app", []byte("program"), 0o755))
	return w
}

// Run writes the second argument into the file named by the first.
func (w *world) Run(_ context.Context, r *solve.RunRequest) error {
	w.mu.Lock()
	w.runs++
	w.mu.Unlock()
	return os.WriteFile(rootpath.ProcPath(int(r.Root.Fd()))+"/"+r.Step.Args[0], []byte(r.Step.Args[1]), 0o644)
}

// plan is a Dockerfile of three instructions.
func (w *world) plan(epoch *time.Time) *plan.Plan {
	config := w.base.Config
	config.Config.Cmd = []string{"/app"}
	h := func(text string, empty bool) oci.History {
		return oci.History{CreatedBy: text, Comment: "buildkit.dockerfile.v0", EmptyLayer: empty}
	}
	return &plan.Plan{Epoch: epoch, Platform: oci.HostPlatform(), Stages: []*plan.Stage{{
		Name: "0", Text: "FROM base:1", Base: plan.Base{Image: w.base}, Config: config, Steps: []plan.Step{
			{Text: "RUN made x", Op: &plan.Run{Args: []string{"made", "x"}}, History: h("RUN made x", false)},
			{Text: "CMD /app", History: h("CMD /app", true)},
			{Text: "COPY app /", Op: &plan.Copy{Paths: []string{"/app"}, Dest: "/"}, History: h("COPY app /", false)},
		},
	}}}
}

func (w *world) solve(p *plan.Plan, change ...func(*solve.Options)) *solve.Result {
	w.Helper()
	o := solve.Options{DataRoot: w.root, Runner: w, Context: func(context.Context, string) (*source.Tree, error) { return source.Dir(w.context) }}
	for _, f := range change {
		f(&o)
	}
	r, err := solve.Solve(w.Context(), p, o)
	must(w, err)
	w.Cleanup(func() { r.Close() })
	return r
}

func (w *world) image(r *solve.Result, o ImageOptions) *catalog.Image {
	w.Helper()
	o.DataRoot = w.root
	img, err := Image(w.Context(), r, o)
	must(w, err)
	return img
}

func noCache(o *solve.Options) { o.NoCache = true }

func named(t testing.TB, s string) reference.Named {
	n, err := reference.Parse(s)
	must(t, err)
	return n
}

func TestImage(t *testing.T) {
	w := newWorld(t)
	first := w.image(w.solve(w.plan(nil)), ImageOptions{Names: []reference.Named{named(t, "app:1"), named(t, "app:2")}})
	c := first.Config
	if len(c.RootFS.DiffIDs) != 4 || len(c.History) != 5 || c.Created == nil || !c.Created.Equal(*c.History[4].Created) || !slices.Equal(c.Config.Cmd, []string{"/app"}) {
		t.Errorf("config %s", first.Raw)
	}
	for _, name := range []string{"app:1", "app:2"} {
		if img, err := catalog.Open(w.root).Resolve(name); err != nil || img.ID != first.ID {
			t.Errorf("%s: %v", name, err)
		}
	}
	if sizes, err := catalog.Open(w.root).LayerSizes(first); err != nil || sizes[2] != 1 || sizes[3] != int64(len("program")) {
		t.Errorf("sizes %v, %v", sizes, err)
	}
	// All from the cache: the same image, to the byte.
	if second := w.image(w.solve(w.plan(nil)), ImageOptions{}); second.ID != first.ID {
		t.Errorf("from the cache it is another image:\n%s\n%s", first.Raw, second.Raw)
	}
	// The records count after a restart of the machine.
	items, err := os.ReadDir(w.root + "/build/cache")
	must(t, err)
	for _, e := range items {
		if b, err := os.ReadFile(w.root + "/build/cache/" + e.Name()); err != nil || bytes.Contains(b, []byte(`"boot"`)) || !bytes.Contains(b, []byte(`"diffID"`)) {
			t.Errorf("%s, %v", b, err)
		}
	}
}

// Equal inputs and SOURCE_DATE_EPOCH: the same bytes, though everything is made anew.
func TestReproducible(t *testing.T) {
	w := newWorld(t)
	epoch := time.Unix(1700000000, 0).UTC()
	var raws []string
	for range 2 {
		r := w.solve(w.plan(&epoch), noCache)
		img := w.image(r, ImageOptions{Rewrite: true})
		raws = append(raws, string(img.Raw))
		if !img.Config.Created.Equal(epoch) {
			t.Errorf("created %v", img.Config.Created)
		}
		info, err := os.Stat(w.root + "/overlay2/" + img.TopLayer + "/diff/app")
		must(t, err)
		if info.ModTime().After(epoch) {
			t.Errorf("a file of %v", info.ModTime())
		}
		time.Sleep(1100 * time.Millisecond) // tars tell seconds
	}
	if raws[0] != raws[1] || w.runs != 2 {
		t.Errorf("%d runs:\n%s\n%s", w.runs, raws[0], raws[1])
	}
	// What was written to an archive agrees with the store.
	var a, b bytes.Buffer
	o := ArchiveOptions{DataRoot: w.root, Rewrite: true}
	_, err := Archive(t.Context(), &a, []*solve.Result{w.solve(w.plan(&epoch), noCache)}, o)
	must(t, err)
	_, err = Archive(t.Context(), &b, []*solve.Result{w.solve(w.plan(&epoch))}, o)
	must(t, err)
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two archives differ")
	}
}

// Two builds without the cache make layers of equal content; the second image
// uses those of the first, with its own on top.
func TestEqualStackIsRecordedOnce(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1700000000, 0)
	must(t, os.Chtimes(w.context+"/app", at, at))
	p := func(last string) *plan.Plan {
		p := w.plan(nil)
		st := p.Stages[0]
		st.Steps = append(slices.Clone(st.Steps[2:]), st.Steps[0])
		run := *st.Steps[1].Op.(*plan.Run)
		run.Args = []string{"made", last}
		st.Steps[1].Op = &run
		return p
	}
	one := w.image(w.solve(p("one")), ImageOptions{})
	two := w.image(w.solve(p("two"), noCache), ImageOptions{})
	layers := catalog.Open(w.root)
	a, err := layers.Layer(one.Chain()[2])
	must(t, err)
	if one.Chain()[2] != two.Chain()[2] {
		t.Fatal("the copies differ")
	}
	stack, err := openStores(w.root).layers.Below(two.TopLayer)
	must(t, err)
	if stack[0] != a.Snapshot {
		t.Error("the second image lies on a copy of its own")
	}
	if b, err := os.ReadFile(w.root + "/overlay2/" + two.TopLayer + "/diff/made"); err != nil || string(b) != "two" {
		t.Errorf("%s, %v", b, err)
	}
	// From here on all is found: the next image is the same.
	if again := w.image(w.solve(p("two")), ImageOptions{}); again.ID != two.ID {
		t.Error("it is another image")
	}
}

// CVE-2024-24557: an image of the same history with another config is no answer.
func TestCraftedImageIsNoHit(t *testing.T) {
	w := newWorld(t)
	real := w.image(w.solve(w.plan(nil)), ImageOptions{})
	var crafted map[string]any
	must(t, json.Unmarshal(real.Raw, &crafted))
	crafted["config"] = map[string]any{"Healthcheck": map[string]any{"Test": []string{"CMD", "evil"}}, "OnBuild": []string{"RUN evil"}, "Env": []string{"LD_PRELOAD=/evil"}}
	raw, err := json.Marshal(crafted)
	must(t, err)
	images := catalog.Open(w.root)
	lease, err := images.Lease()
	must(t, err)
	defer lease.Close()
	evil, err := lease.Put(t.Context(), raw, w.base.ID)
	must(t, err)
	_, err = images.Tag(named(t, "base:1"), evil.ID)
	must(t, err)
	for range 2 {
		img := w.image(w.solve(w.plan(nil)), ImageOptions{})
		if img.ID != real.ID || img.Config.Config.Healthcheck != nil || img.Config.Config.OnBuild != nil {
			t.Errorf("the crafted image was used: %s", img.Raw)
		}
	}
	// Built on the crafted image itself, no step is a hit that depends on what differs.
	runs := w.runs
	p := w.plan(nil)
	p.Stages[0].Steps[0].Op = &plan.Run{Args: []string{"made", "x"}, Env: evil.Config.Config.Env}
	w.solve(p)
	if w.runs != runs+1 {
		t.Error("a program was not run in its own environment")
	}
}

// Every form that is written can be read, by us and by skopeo, and holds the same files.
func TestArchives(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.plan(nil))
	stored := w.image(r, ImageOptions{})
	for name, o := range map[string]ArchiveOptions{
		"docker":              {Docker: true},
		"docker uncompressed": {Docker: true, Compression: packing.Uncompressed},
		"oci":                 {Manifest: map[string]string{"note": "x"}},
		"oci zstd":            {Compression: packing.Zstd, Level: 5},
		"oci uncompressed":    {Compression: packing.Uncompressed},
	} {
		t.Run(name, func(t *testing.T) {
			o.DataRoot, o.Names = w.root, []reference.Named{named(t, "team/app:1"), named(t, "team/app:2")}
			path := t.TempDir() + "/out.tar"
			var written Written
			must(t, atomicfile.Output(path, func(to io.Writer) (err error) {
				written, err = Archive(t.Context(), to, []*solve.Result{r}, o)
				return err
			}))
			// It is the image that the store has, base layers and all.
			if written.Configs[0] != stored.ID {
				t.Errorf("the archive's image is %s, the store's %s", written.Configs[0], stored.ID)
			}
			other := t.TempDir()
			f, err := os.Open(path)
			must(t, err)
			defer f.Close()
			loaded, err := transfer.New(other, 0).Load(t.Context(), f, transfer.LoadOptions{})
			must(t, err)
			if len(loaded) != 2 || loaded[0].ID != written.Configs[0] {
				t.Errorf("loaded %+v, written %+v", loaded, written)
			}
			img, err := catalog.Open(other).Resolve("team/app:2")
			must(t, err)
			tree, err := openStores(other).layers.MountTree(t.Context(), img.TopLayer)
			must(t, err)
			defer tree.Close()
			entries, err := os.ReadDir(rootpath.ProcPath(int(tree.Fd())))
			must(t, err)
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if got := strings.Join(names, " "); got != "app etc made z" {
				t.Errorf("files %s", got)
			}
			skopeo(t, o.Docker, path)
		})
	}
	if _, err := Archive(t.Context(), io.Discard, []*solve.Result{r}, ArchiveOptions{DataRoot: w.root, Docker: true, Compression: packing.Zstd}); err == nil {
		t.Error("Docker's format has zstd")
	}
}

func skopeo(t *testing.T, docker bool, path string) {
	t.Helper()
	program, err := exec.LookPath("skopeo")
	if err != nil {
		t.Log("skopeo is not here")
		return
	}
	name := "oci-archive:" + path + ":1"
	if docker {
		name = "docker-archive:" + path
	}
	cmd := exec.Command(program, "--insecure-policy", "copy", "--src-shared-blob-dir=", name, "dir:"+t.TempDir())
	cmd.Args = slices.DeleteFunc(cmd.Args, func(a string) bool { return strings.HasPrefix(a, "--src-shared") })
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("skopeo: %v\n%s", err, out)
	}
}

func TestLayoutAndPlatforms(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir() + "/layout"
	two := w.plan(nil)
	two.Platform = oci.Platform{OS: "linux", Architecture: "arm64"}
	two.Stages[0].Config.Architecture = "arm64"
	results := []*solve.Result{w.solve(w.plan(nil)), w.solve(two)}
	o := ArchiveOptions{DataRoot: w.root, Names: []reference.Named{named(t, "app:1")}, Index: map[string]string{"note": "x"}}
	written, err := Layout(t.Context(), dir, results, o)
	must(t, err)
	if len(written.Configs) != 2 || !written.Descriptor.IsIndex() {
		t.Errorf("written %+v", written)
	}
	loaded, err := transfer.New(t.TempDir(), 0).LoadDir(t.Context(), dir, transfer.LoadOptions{Platform: &two.Platform})
	must(t, err)
	if !slices.ContainsFunc(loaded, func(l transfer.Loaded) bool { return l.ID == written.Configs[1] }) {
		t.Errorf("loaded %+v", loaded)
	}
	o.Names = []reference.Named{named(t, "app:2")}
	_, err = Layout(t.Context(), dir, results[:1], o)
	must(t, err)
	o.Names = []reference.Named{named(t, "app:1")} // replaces the first
	_, err = Layout(t.Context(), dir, results, o)
	must(t, err)
	b, err := os.ReadFile(dir + "/index.json")
	must(t, err)
	x, err := oci.ParseIndex(b, "")
	must(t, err)
	if len(x.Manifests) != 2 {
		t.Errorf("index %s", b)
	}
	if left, err := filepath.Glob(dir + "/*/*/.*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestLocalAndTar(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.plan(nil))
	dir := t.TempDir() + "/out"
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(dir+"/mine", []byte("stays"), 0o644))
	must(t, os.WriteFile(dir+"/made", []byte("goes"), 0o600))
	must(t, Local(t.Context(), dir, []*solve.Result{r}, FilesOptions{DataRoot: w.root}))
	for name, want := range map[string]string{"mine": "stays", "made": "x", "app": "program", "etc/motd": "hi"} {
		if b, err := os.ReadFile(dir + "/" + name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if _, err := os.Lstat(dir + "/a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a deleted file is there: %v", err)
	}
	var b bytes.Buffer
	must(t, Tar(t.Context(), &b, []*solve.Result{r}, FilesOptions{DataRoot: w.root}))
	if got := tarNames(t, &b); got != "app etc/ etc/motd made z" {
		t.Errorf("tar: %s", got)
	}
	b.Reset()
	two := w.plan(nil)
	two.Platform = oci.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	must(t, Tar(t.Context(), &b, []*solve.Result{w.solve(two), r}, FilesOptions{DataRoot: w.root, Split: true}))
	if got := tarNames(t, &b); !strings.Contains(got, "linux_arm_v7/z ") || !strings.HasSuffix(got, platformDir(oci.HostPlatform())+"/z") {
		t.Errorf("tar: %s", got)
	}
	empty := w.solve(&plan.Plan{Platform: oci.HostPlatform(), Stages: []*plan.Stage{{Name: "0", Text: "FROM scratch"}}})
	b.Reset()
	must(t, Tar(t.Context(), &b, []*solve.Result{empty}, FilesOptions{DataRoot: w.root}))
	must(t, Local(t.Context(), t.TempDir(), []*solve.Result{empty}, FilesOptions{DataRoot: w.root}))
	if got := tarNames(t, &b); got != "" {
		t.Errorf("tar of nothing: %s", got)
	}
}

func tarNames(t testing.TB, r io.Reader) string {
	t.Helper()
	var names []string
	for a := tar.NewReader(r); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(names, " ")
		}
		must(t, err)
		names = append(names, h.Name)
	}
}

// After a build whose result is no image, its steps count after a restart too,
// and the cache is within its limit.
func TestFinish(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.plan(nil))
	must(t, r.Finish(t.Context(), w.root, 1<<40))
	items, err := cache.Open(w.root).Usage(t.Context())
	must(t, err)
	if len(items) != 2 || items[0].InUse || items[0].Shared {
		t.Errorf("items %+v", items)
	}
	b, err := os.ReadFile(w.root + "/build/cache/" + items[0].ID)
	if err != nil || bytes.Contains(b, []byte(`"boot"`)) {
		t.Errorf("%s, %v", b, err)
	}
	must(t, w.solve(w.plan(nil), noCache).Finish(t.Context(), w.root, 3))
	if items, err = cache.Open(w.root).Usage(t.Context()); err != nil || len(items) != 1 {
		t.Errorf("items %+v, %v", items, err)
	}
}
