package engine

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/atomicfile"
	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/linux/process"
	"berth/internal/oci"
	"berth/internal/reference"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testEngine has empty roots and starts nothing.
func testEngine(t testing.TB) *Engine {
	t.Helper()
	return open(Options{DataRoot: filepath.Join(t.TempDir(), "data"), StateRoot: t.TempDir()})
}

// testImage describes an image to be made.
type testImage struct {
	layers string // names, base first; each has one file of that name
	tags   string
	parent string // id of the image it was committed from
	labels map[string]string
	age    time.Duration
	config oci.RunConfig
}

func (ti testImage) add(t testing.TB, e *Engine) string {
	t.Helper()
	ctx := context.Background()
	lease, err := e.images.Lease()
	must(t, err)
	defer lease.Close()
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(-ti.age)
	c := oci.ImageConfig{Created: &created, Architecture: "amd64", OS: "linux", RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}, Config: ti.config}
	c.Config.Labels = ti.labels
	var below catalog.Layer
	for _, name := range strings.Fields(ti.layers) {
		diff := oci.DigestOf([]byte(name))
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, diff)
		c.History = append(c.History, oci.History{Created: &created, CreatedBy: "make " + name}, oci.History{CreatedBy: "env " + name, EmptyLayer: true})
		l, ok, err := lease.UseLayer(catalog.ChainID(below.Chain, diff))
		must(t, err)
		if !ok {
			d, err := e.snapshots.Begin(below.Snapshot)
			must(t, err)
			must(t, os.WriteFile(d.Dir()+"/"+name, []byte(name), 0o644))
			l, err = lease.AddLayer(ctx, catalog.NewLayer{Draft: d, Parent: below.Chain, DiffID: diff, Size: -1})
			must(t, err)
		}
		below = l
	}
	raw, err := json.Marshal(c)
	must(t, err)
	img, err := lease.Put(ctx, raw, oci.Digest(ti.parent))
	must(t, err)
	for _, tag := range strings.Fields(ti.tags) {
		n, err := reference.Parse(tag)
		must(t, err)
		_, err = e.images.Tag(n, img.ID)
		must(t, err)
	}
	return img.ID.String()
}

// testContainer makes the record and the writable layer of a container.
func testContainer(t testing.TB, e *Engine, image, name string, status container.Status) string {
	t.Helper()
	img, err := e.images.Resolve(image)
	must(t, err)
	rec := &container.Record{ID: ident.New(), Created: time.Now(), ImageID: img.ID.String(), Config: container.Config{Image: image}, Path: "sh"}
	must(t, e.snapshots.Prepare(rec.ID, img.TopLayer))
	rec.State = container.State{ID: rec.ID, Name: name, ImageID: rec.ImageID, Image: image, Status: status, Created: rec.Created, Command: "sh"}
	if status == container.Running { // this very process plays PID 1
		rec.State.PID = os.Getpid()
		rec.State.PIDStart, err = process.StartTime(os.Getpid())
		must(t, err)
		rec.State.BootID = process.BootID()
	}
	must(t, e.store.Create(rec, atomicfile.Atomic))
	return rec.ID
}

func tagsOf(list []ImageSummary) string {
	var out []string
	for _, s := range list {
		if len(s.RepoTags) == 0 {
			out = append(out, "<none>")
		}
		out = append(out, s.RepoTags...)
	}
	return strings.Join(out, " ")
}

func TestImagesList(t *testing.T) {
	e := testEngine(t)
	base := testImage{layers: "base", tags: "busybox:1 busybox:latest", age: 30 * time.Hour, labels: map[string]string{"tier": "low"}}.add(t, e)
	testImage{layers: "base app", tags: "registry.example.com:5000/team/app:2", age: 20 * time.Hour, labels: map[string]string{"tier": "high", "x": ""}}.add(t, e)
	middle := testImage{layers: "base middle", parent: base, age: 10 * time.Hour}.add(t, e)
	testImage{layers: "base middle top", parent: middle, age: 5 * time.Hour}.add(t, e)
	n, err := reference.Parse("busybox@" + string(oci.DigestOf([]byte("m"))))
	must(t, err)
	_, err = e.images.Tag(n, oci.Digest(base))
	must(t, err)

	for _, c := range []struct {
		ref  string
		all  bool
		f    Filters
		want string
	}{
		{want: "<none> registry.example.com:5000/team/app:2 busybox:1 busybox:latest"},
		{all: true, want: "<none> <none> registry.example.com:5000/team/app:2 busybox:1 busybox:latest"},
		{ref: "busybox", want: "busybox:1 busybox:latest"},
		{ref: "busybox:1", want: "busybox:1"},
		{ref: "busy*", want: "busybox:1 busybox:latest"},
		{ref: "*/team/*", want: "registry.example.com:5000/team/app:2"},
		{ref: "registry.example.com:5000/team/app", want: "registry.example.com:5000/team/app:2"},
		{ref: "nothing", want: ""},
		{f: Filters{"reference": {"busybox:1", "*/*/app"}}, want: "registry.example.com:5000/team/app:2 busybox:1"},
		{f: Filters{"dangling": {"true"}}, want: "<none>"},
		{f: Filters{"dangling": {"false"}}, want: "registry.example.com:5000/team/app:2 busybox:1 busybox:latest"},
		{f: Filters{"label": {"tier"}}, want: "registry.example.com:5000/team/app:2 busybox:1 busybox:latest"},
		{f: Filters{"label": {"tier=high"}}, want: "registry.example.com:5000/team/app:2"},
		{f: Filters{"label": {"tier=low", "x"}}, want: ""},
		{f: Filters{"label": {"x="}}, want: "registry.example.com:5000/team/app:2"},
		{f: Filters{"before": {"registry.example.com:5000/team/app:2"}}, want: "busybox:1 busybox:latest"},
		{f: Filters{"since": {"busybox"}, "dangling": {"false"}}, want: "registry.example.com:5000/team/app:2"},
		{f: Filters{"until": {"2026-01-01T20:00:00Z"}}, want: "registry.example.com:5000/team/app:2 busybox:1 busybox:latest"},
	} {
		got, err := e.Images.List(t.Context(), c.ref, c.all, c.f)
		if err != nil || tagsOf(got) != c.want {
			t.Errorf("%q all=%v %v\ngot  %s, %v\nwant %s", c.ref, c.all, c.f, tagsOf(got), err, c.want)
		}
	}
	list, err := e.Images.List(t.Context(), "busybox", false, nil)
	must(t, err)
	if s := list[0]; s.ID != base || s.Size != 4 || s.Labels["tier"] != "low" || len(s.RepoDigests) != 1 || s.Containers != -1 {
		t.Errorf("row: %+v", s)
	}
	for _, f := range []Filters{{"color": {"red"}}, {"dangling": {"maybe"}}, {"reference": {"["}}, {"before": {"absent"}}, {"until": {"never"}}} {
		if _, err := e.Images.List(t.Context(), "", false, f); err == nil {
			t.Errorf("%v was accepted", f)
		}
	}
}

func TestImagesInspectAndHistory(t *testing.T) {
	e := testEngine(t)
	base := testImage{layers: "one", tags: "base", config: oci.RunConfig{Cmd: []string{"sh"}}}.add(t, e)
	child := testImage{layers: "one three", tags: "child", parent: base}.add(t, e)

	in, err := e.Images.Inspect(t.Context(), "base")
	must(t, err)
	if in.ID != base || in.Config.Config.Cmd[0] != "sh" || in.Size != 3 || in.LastTagTime.IsZero() || in.GraphDriver["UpperDir"] == "" || in.GraphDriver["LowerDir"] != "" {
		t.Errorf("base: %+v", in)
	}
	in, err = e.Images.Inspect(t.Context(), child[7:20])
	must(t, err)
	if in.ParentID != base || in.Size != 8 || !strings.HasSuffix(in.GraphDriver["LowerDir"], "/diff") {
		t.Errorf("child: %+v", in)
	}
	rows, err := e.Images.History(t.Context(), "child")
	must(t, err)
	var got []string
	for _, r := range rows {
		got = append(got, ident.Short(strings.TrimPrefix(r.ID, "sha256:")), r.CreatedBy)
	}
	want := []string{ident.Short(child[7:]), "env three", ident.Short(base[7:]), "make three", "<missing>", "env one", "<missing>", "make one"}
	if !slices.Equal(got, want) || rows[1].Size != 5 || rows[0].Size != 0 || rows[0].Tags[0] != "child:latest" {
		t.Errorf("history %v\nwant    %v\n%+v", got, want, rows)
	}
	if _, err := e.Images.Inspect(t.Context(), "absent"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("absent: %v", err)
	}
}

func TestImagesTag(t *testing.T) {
	e := testEngine(t)
	id := testImage{layers: "a", tags: "app"}.add(t, e)
	must(t, e.Images.Tag(t.Context(), id[7:19], "localhost:5000/app:v1"))
	if in, err := e.Images.Inspect(t.Context(), "localhost:5000/app:v1"); err != nil || in.ID != id {
		t.Errorf("by the new name: %v", err)
	}
	for ref, want := range map[string]errdefs.Kind{"App": errdefs.InvalidArgument, "app@" + id: errdefs.InvalidArgument, "a b": errdefs.InvalidArgument} {
		if err := e.Images.Tag(t.Context(), "app", ref); !errors.Is(err, want) {
			t.Errorf("tag %q: %v", ref, err)
		}
	}
	if err := e.Images.Tag(t.Context(), "absent", "x"); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("tag of an absent image: %v", err)
	}
}
