package solve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/build/source"
	"berth/internal/image/catalog"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
	"berth/internal/storage/archive"
	"berth/internal/storage/snapshot"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("overlay mounts need root")
	}
}

// world is a data root with a base image, a context, and a runner that counts.
type world struct {
	testing.TB
	root    string
	context string
	base    *plan.Image
	runner  *scripted
	o       Options
	log     *events
	results []*Result
}

func newWorld(t testing.TB) *world {
	t.Helper()
	needRoot(t)
	w := &world{TB: t, root: t.TempDir(), context: t.TempDir(), runner: &scripted{ran: map[string]int{}}, log: &events{}}
	w.base = w.image("base", map[string]string{"etc/passwd": "root:x:0:0::/:\nweb:x:33:34::/:\n", "etc/group": "web:x:34:\n", "etc/motd": "hello"})
	w.o = Options{DataRoot: w.root, Runner: w.runner, Events: w.log.add, Context: func(_ context.Context, name string) (*source.Tree, error) {
		return source.Dir(filepath.Join(w.context, name))
	}}
	return w
}

// image puts an image of one layer into the catalog.
func (w *world) image(name string, files map[string]string) *plan.Image {
	w.Helper()
	images, layers := catalog.Open(w.root), snapshot.Open(w.root)
	lease, err := images.Lease()
	must(w, err)
	defer lease.Close()
	d, err := layers.Begin("")
	must(w, err)
	defer d.Discard()
	write(w, d.Dir(), files)
	dir, err := os.Open(d.Dir())
	must(w, err)
	defer dir.Close()
	h := newHash()
	_, err = archive.Diff(w.Context(), h, dir, archive.DiffOptions{})
	must(w, err)
	_, err = lease.AddLayer(w.Context(), catalog.NewLayer{Draft: d, DiffID: h.sum(), Size: -1})
	must(w, err)
	created := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	raw, err := json.Marshal(oci.ImageConfig{
		Created: &created, Architecture: "amd64", OS: "linux", Author: name, Config: oci.RunConfig{Env: []string{"PATH=/bin"}},
		RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{h.sum()}}, History: []oci.History{{Created: &created, CreatedBy: name}},
	})
	must(w, err)
	img, err := lease.Put(w.Context(), raw, "")
	must(w, err)
	return &plan.Image{Name: name, ID: img.ID, Config: img.Config, TopLayer: img.TopLayer}
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(body), 0o644))
	}
}

// from makes a stage of the base image.
func (w *world) from(name string, steps ...plan.Step) *plan.Stage {
	return &plan.Stage{Name: name, Line: 1, Text: "FROM base AS " + name, Base: plan.Base{Image: w.base}, Steps: steps, Config: w.base.Config}
}

func planOf(stages ...*plan.Stage) *plan.Plan {
	for i, st := range stages {
		st.Index = i
		for j := range st.Steps {
			st.Steps[j].Line = i*100 + j + 2
		}
	}
	return &plan.Plan{Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Stages: stages}
}

// sh is a RUN whose program scripted understands.
func sh(args ...string) plan.Step {
	text := "RUN " + strings.Join(args, " ")
	return plan.Step{Text: text, Op: &plan.Run{Args: args, Dir: "/", Network: "default"}, History: oci.History{CreatedBy: text, Comment: "buildkit.dockerfile.v0"}}
}

func env(text string) plan.Step {
	return plan.Step{Text: "ENV " + text, History: oci.History{CreatedBy: "ENV " + text, EmptyLayer: true}}
}

func cp(c plan.Copy) plan.Step {
	text := fmt.Sprintf("COPY %s %s", strings.Join(c.Paths, " "), c.Dest)
	return plan.Step{Text: text, Op: &c, History: oci.History{CreatedBy: text}}
}

func (w *world) solve(p *plan.Plan) *Result {
	w.Helper()
	r, err := Solve(w.Context(), p, w.o)
	if err != nil {
		w.Fatalf("%v\n%s", err, w.log)
	}
	w.results = append(w.results, r)
	return r
}

// files lists the files of a result, with their content: "path=content".
func (w *world) files(r *Result) []string {
	w.Helper()
	tree, err := snapshot.Open(w.root).MountTree(w.Context(), r.TopLayer)
	must(w, err)
	defer tree.Close()
	var all []string
	top := rootpath.ProcPath(int(tree.Fd())) + "/"
	must(w, filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all = append(all, strings.TrimPrefix(path, top)+"="+string(b))
		return err
	}))
	return all
}

func (w *world) wantFile(r *Result, want string) {
	w.Helper()
	if got := w.files(r); !slices.Contains(got, want) {
		w.Errorf("no file %s in %q", want, got)
	}
}

// scripted is a Runner whose programs are:
//
//	write PATH TEXT    true    fail    slow    mount INDEX PATH TEXT    read INDEX PATH
type scripted struct {
	mu      sync.Mutex
	ran     map[string]int // by the words of the program
	running atomic.Int32
	most    atomic.Int32 // at once
	delay   time.Duration
	started chan struct{} // told when "slow" runs
	seen    []string      // what read found
	mounts  []RunMount
}

func (s *scripted) Run(ctx context.Context, r *RunRequest) error {
	n := s.running.Add(1)
	defer s.running.Add(-1)
	for old := s.most.Load(); n > old && !s.most.CompareAndSwap(old, n); old = s.most.Load() {
	}
	s.mu.Lock()
	s.ran[strings.Join(r.Step.Args, " ")]++
	s.mounts = r.Mounts
	s.mu.Unlock()
	time.Sleep(s.delay)
	args := r.Step.Args
	switch args[0] {
	case "write":
		return s.write(r.Root, args[1], args[2])
	case "fail":
		fmt.Fprintln(r.Stderr, "no luck")
		return &ExitError{Code: 3}
	case "slow":
		if s.started != nil {
			close(s.started)
		}
		<-ctx.Done()
		return context.Cause(ctx)
	case "mount":
		m := r.Mounts[int(args[1][0]-'0')]
		dir, err := rootpath.Open(m.Source, "/"+m.Path, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		defer dir.Close()
		return s.write(dir, args[2], args[3])
	case "read":
		m := r.Mounts[int(args[1][0]-'0')]
		b, err := rootpath.ReadFile(m.Source, m.Path+args[2], 1<<20)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.seen = append(s.seen, "error")
			return nil
		}
		s.seen = append(s.seen, string(b))
	}
	return nil
}

func (s *scripted) write(root *os.File, path, text string) error {
	dir, err := rootpath.MkdirAll(root, filepath.Dir(path), 0o755)
	if err != nil {
		return err
	}
	defer dir.Close()
	return os.WriteFile(rootpath.ProcPath(int(dir.Fd()))+"/"+filepath.Base(path), []byte(text), 0o644)
}

func (s *scripted) count(args ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ran[strings.Join(args, " ")]
}

// events keeps what happened, as lines.
type events struct {
	mu    sync.Mutex
	names map[oci.Digest]string
	lines []string
	all   []progress.Event
}

func (l *events) add(e progress.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, e)
	if l.names == nil {
		l.names = map[oci.Digest]string{}
	}
	line := ""
	switch e := e.(type) {
	case *progress.Started:
		l.names[e.ID] = e.Name
		line = fmt.Sprintf("%d/%d %s started", e.Number, e.Total, e.Name)
	case *progress.Running:
		line = l.names[e.ID] + " running"
	case *progress.Output:
		line = fmt.Sprintf("%s %d: %s", l.names[e.ID], e.Stream, strings.TrimSpace(string(e.Data)))
	case *progress.Finished:
		how := "done"
		switch {
		case e.Err != nil:
			how = "failed: " + e.Err.Error()
		case e.Cached:
			how = "cached"
		}
		line = l.names[e.ID] + " " + how
	default:
		return
	}
	l.lines = append(l.lines, line)
}

func (l *events) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (l *events) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines, l.all = nil, nil
}

// layersOnDisk returns how many layers, drafts and trash the store holds.
func (w *world) layersOnDisk() int {
	entries, err := os.ReadDir(snapshot.Open(w.root).Dir())
	must(w, err)
	return len(slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "l" }))
}

var errEnough = errors.New("enough")
