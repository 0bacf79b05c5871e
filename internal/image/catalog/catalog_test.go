package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// diffID is a made-up diff id: the catalog never looks into layers.
func diffID(name string) oci.Digest { return oci.DigestOf([]byte(name)) }

func name(t testing.TB, s string) reference.Named {
	t.Helper()
	n, err := reference.Parse(s)
	must(t, err)
	return n
}

// config returns the config document of an image of layers.
func config(comment string, layers ...string) []byte {
	c := oci.ImageConfig{Architecture: "amd64", OS: "linux", Comment: comment, RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{}}}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, diffID(l))
	}
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return raw
}

// addLayers adds a stack of layers to a lease, each with one file of its name.
func addLayers(s *Store, l *Lease, layers ...string) error {
	var chain oci.Digest
	below := ""
	for _, name := range layers {
		have, ok, err := l.UseLayer(ChainID(chain, diffID(name)))
		if err != nil {
			return err
		}
		if !ok {
			d, err := s.layers.Begin(below)
			if err != nil {
				return err
			}
			if err := os.WriteFile(d.Dir()+"/"+name, []byte(name), 0o644); err != nil {
				return err
			}
			if have, err = l.AddLayer(context.Background(), NewLayer{Draft: d, Parent: chain, DiffID: diffID(name), Size: -1}); err != nil {
				return errors.Join(err, d.Discard())
			}
		}
		chain, below = have.Chain, have.Snapshot
	}
	return nil
}

// image adds an image of layers under tags.
func image(t testing.TB, s *Store, layers string, tags ...string) *Image {
	t.Helper()
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	must(t, addLayers(s, l, strings.Fields(layers)...))
	img, err := l.Put(context.Background(), config(strings.Join(tags, " "), strings.Fields(layers)...), "")
	must(t, err)
	for _, tag := range tags {
		_, err := s.Tag(name(t, tag), img.ID)
		must(t, err)
	}
	return img
}

func noContainers(string) bool { return false }

// remove removes an image with its names, as the engine does.
func remove(s *Store, id oci.Digest, inUse func(string) bool) ([]Layer, error) {
	r, err := s.Exclusive()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Leased(id) {
		return nil, errdefs.Conflict
	}
	names, err := s.Names()
	if err != nil {
		return nil, err
	}
	tags, digests := names.Of(id)
	if _, err := s.Untag(id, append(tags, digests...)...); err != nil {
		return nil, err
	}
	return r.Images([]oci.Digest{id}, inUse)
}

func ls(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestOpenTouchesNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "data")
	s := Open(root)
	if _, err := s.Resolve("busybox"); !errors.Is(err, errdefs.NotFound) || err.Error() != "no such image: busybox:latest" {
		t.Errorf("Resolve in an empty store: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("List in an empty store: %v, %v", list, err)
	}
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data root exists: %v", err)
	}
}

func TestChainIDs(t *testing.T) {
	// A busybox-based image of Docker Hub: chain ids as its layerdb had them.
	a := oci.Digest("sha256:" + strings.Repeat("a", 64))
	b := oci.Digest("sha256:" + strings.Repeat("b", 64))
	got := ChainIDs([]oci.Digest{a, b})
	want := []oci.Digest{a, oci.DigestOf([]byte(string(a) + " " + string(b)))}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLayoutIsDockers(t *testing.T) {
	s := Open(t.TempDir())
	img := image(t, s, "base top", "busybox:1.36", "localhost:5000/team/app:2")
	if got := ls(t, s.dir); !slices.Equal(slices.DeleteFunc(got, func(n string) bool { return n[0] == '.' }), []string{"distribution", "imagedb", "layerdb", "repositories.json"}) {
		t.Errorf("image/overlay2 shows %v", got)
	}
	raw, err := os.ReadFile(s.dir + "/imagedb/content/sha256/" + img.ID.Hex())
	must(t, err)
	if oci.DigestOf(raw) != img.ID {
		t.Error("the config's name is not its digest")
	}
	var doc map[string]map[string]map[string]string
	b, err := os.ReadFile(s.dir + "/repositories.json")
	must(t, err)
	must(t, json.Unmarshal(b, &doc))
	if doc["Repositories"]["busybox"]["busybox:1.36"] != string(img.ID) || doc["Repositories"]["localhost:5000/team/app"]["localhost:5000/team/app:2"] != string(img.ID) {
		t.Errorf("repositories.json: %s", b)
	}
	base, top := diffID("base"), ChainID(diffID("base"), diffID("top"))
	if got := ls(t, s.LayerDir(base)); !slices.Equal(got, []string{"cache-id", "diff", "size"}) {
		t.Errorf("base layer's record: %v", got)
	}
	l, err := s.Layer(top)
	must(t, err)
	if l.Parent != base || l.DiffID != diffID("top") || l.Size != 3 {
		t.Errorf("Layer = %+v", l)
	}
	if got, _ := os.ReadFile(s.layers.Diff(l.Snapshot) + "/top"); string(got) != "top" {
		t.Errorf("the layer's file holds %q", got)
	}
	if img.TopLayer != l.Snapshot {
		t.Errorf("TopLayer = %s, want %s", img.TopLayer, l.Snapshot)
	}
	if n, err := s.Size(img); err != nil || n != 7 {
		t.Errorf("Size = %d, %v", n, err)
	}
	if s.LastTagTime(img.ID).IsZero() {
		t.Error("no time of the last tag")
	}
}

func TestPutNeedsItsLayers(t *testing.T) {
	s := Open(t.TempDir())
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	for why, raw := range map[string][]byte{
		"a missing layer":  config("", "absent"),
		"no JSON":          []byte("x"),
		"no digest":        []byte(`{"rootfs":{"type":"layers","diff_ids":["sha256:../../x"]}}`),
		"a strange rootfs": []byte(`{"rootfs":{"type":"windows","diff_ids":[]}}`),
		"too many bytes":   []byte(`{"comment":"` + strings.Repeat("x", maxConfig) + `"}`),
	} {
		if _, err := l.Put(context.Background(), raw, ""); err == nil {
			t.Errorf("an image with %s was stored", why)
		}
	}
	if got := ls(t, s.contentDir()); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestDamageIsNoticed(t *testing.T) {
	s := Open(t.TempDir())
	img := image(t, s, "a", "app")
	must(t, os.WriteFile(s.content(img.ID), []byte(`{"rootfs":{"type":"layers"}}`), 0o600))
	_, err := s.Resolve("app")
	if err == nil || !strings.Contains(err.Error(), s.content(img.ID)) || errdefs.HintOf(err) == "" {
		t.Errorf("Resolve of a damaged config: %v", err)
	}
	list, err := s.List()
	if err != nil || len(list) != 1 || list[0].Err == nil || !slices.Equal(list[0].Tags, []string{"app:latest"}) {
		t.Errorf("List = %+v, %v", list, err)
	}
	if _, err := remove(s, img.ID, noContainers); err != nil {
		t.Errorf("a damaged image cannot be removed: %v", err)
	}
	image(t, s, "b", "app2")
	must(t, os.Truncate(s.LayerDir(diffID("b"))+"/cache-id", 0))
	if _, err := s.Resolve("app2"); err == nil {
		t.Error("a damaged layer record was not noticed")
	}
	must(t, os.WriteFile(s.namesPath(), []byte(`{"Repositories":{"x":{"x:1":"sha256:short"}}}`), 0o600))
	if _, err := s.Names(); err == nil {
		t.Error("a bad digest in repositories.json was not noticed")
	}
}

func TestParent(t *testing.T) {
	s := Open(t.TempDir())
	a := image(t, s, "a", "a")
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	child, err := l.Put(context.Background(), config("child", "a"), a.ID)
	must(t, err)
	if s.Parent(child.ID) != a.ID || s.Parent(a.ID) != "" {
		t.Errorf("parents %q and %q", s.Parent(child.ID), s.Parent(a.ID))
	}
}
