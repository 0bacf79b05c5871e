package portable

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func id(s string) oci.Digest { return oci.DigestOf([]byte(s)) }

// sample is a cache of two steps on a base image, and a hollow one.
func sample() *Document {
	base, at := id("base"), time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one := catalog.ChainID(base, id("diff one"))
	two := catalog.ChainID(one, id("diff two"))
	blob := oci.Descriptor{MediaType: oci.MediaTypeLayerGzip, Digest: id("blob"), Size: 4}
	return &Document{
		Steps: []Step{{Key: id("k1"), Chain: one}, {Key: id("k2"), Chain: two}, {Key: id("same"), Chain: base}, {Key: id("hollow"), Hollow: true}},
		Layers: []Layer{
			{Chain: one, Below: base, DiffID: id("diff one"), Blob: blob, Key: id("k1"), Size: 1, Created: at, Text: "RUN one"},
			{Chain: two, Below: one, DiffID: id("diff two"), Blob: blob, Key: id("k2"), Size: 2, Created: at, Text: strings.Repeat("ä", maxText)},
		},
		Reads: []Reading{{id("what"), id("content")}},
	}
}

func TestDocument(t *testing.T) {
	d := sample()
	d.Sort()
	raw, err := d.Encode()
	must(t, err)
	got, err := Parse(raw)
	must(t, err)
	if !reflect.DeepEqual(got, d) {
		t.Errorf("%+v\n%+v", got, d)
	}
	for name, change := range map[string]func(*Document){
		"a key":      func(d *Document) { d.Steps[0].Key = "x" },
		"a chain":    func(d *Document) { d.Layers[0].Chain = id("other") },
		"a diff id":  func(d *Document) { d.Layers[0].DiffID = id("other") },
		"a size":     func(d *Document) { d.Layers[0].Size = -1 },
		"a time":     func(d *Document) { d.Layers[0].Created = time.Time{} },
		"a reading":  func(d *Document) { d.Reads[0].Digest = "" },
		"a blob":     func(d *Document) { d.Layers[0].Blob.Digest = "../../etc/passwd" },
		"the layers": func(d *Document) { d.Layers[1].Below = "sha256:short" },
	} {
		d := sample()
		change(d)
		raw, err := d.Encode()
		must(t, err)
		if _, err := Parse(raw); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, raw := range []string{"", "[]", "{}", `{"version":2}`, "null"} {
		if _, err := Parse([]byte(raw)); err == nil {
			t.Errorf("%q: no error", raw)
		}
	}
}

func TestImports(t *testing.T) {
	var none *Imports
	if !none.Empty() || !(&Imports{}).Empty() {
		t.Error("nothing is something")
	}
	warned := 0
	i := &Imports{Warn: func(string) { warned++ }}
	hollow := sample()
	for n := range hollow.Steps {
		hollow.Steps[n].Hollow = true
	}
	i.Add(NewImport("hollow", hollow, nil))
	if _, ok := i.Find(id("k1"), id("base")); ok || !i.Knows(id("k1")) {
		t.Error("a hollow step has files")
	}
	i.Add(NewImport("full", sample(), NewDirectory(t.TempDir())))
	stack, ok := i.Find(id("k2"), id("base"))
	if !ok || len(stack) != 2 || stack[0].DiffID != id("diff one") {
		t.Errorf("%v, %v", stack, ok)
	}
	if none, ok := i.Find(id("same"), id("base")); !ok || len(none) != 0 {
		t.Errorf("a step that changed nothing: %v, %v", none, ok)
	}
	for key, base := range map[oci.Digest]oci.Digest{id("k2"): "", id("k1"): id("another base"), id("no"): id("base")} {
		if _, ok := i.Find(key, base); ok {
			t.Errorf("%s on %q was found", key, base)
		}
	}
	if i.Read(id("what")) != id("content") || i.Read(id("x")) != "" {
		t.Error("readings")
	}
	if _, err := stack[0].Open(t.Context()); err == nil {
		t.Error("a blob that is not there was opened")
	}
	i.Lose(stack[0], errors.New("gone"))
	i.Lose(stack[0], errors.New("gone"))
	if !i.Empty() || i.Knows(id("k1")) || warned != 1 {
		t.Errorf("after the loss: %d warnings", warned)
	}
}

// A directory gives nothing from outside of it, and writes nothing there.
func TestDirectoryStaysInside(t *testing.T) {
	outside := t.TempDir()
	must(t, os.WriteFile(outside+"/secret", []byte("secret"), 0o600))
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/blobs/sha256", 0o755))
	d := oci.Descriptor{Digest: id("secret"), Size: 6}
	must(t, os.Symlink(outside+"/secret", dir+"/"+blobName(d.Digest)))
	must(t, os.Symlink(outside+"/index", dir+"/index.json"))
	l := NewDirectory(dir)
	if has, err := l.Has(t.Context(), d); has || err != nil {
		t.Errorf("has %v, %v", has, err)
	}
	if _, err := l.Open(t.Context(), d); err == nil {
		t.Error("a file outside was opened")
	}
	must(t, l.Put(t.Context(), d, strings.NewReader("SECRET")))
	if b, err := os.ReadFile(outside + "/secret"); err != nil || string(b) != "secret" {
		t.Errorf("outside: %q, %v", b, err)
	}
	must(t, os.Remove(dir+"/index.json"))
	must(t, os.RemoveAll(dir+"/blobs"))
	must(t, os.Symlink(outside, dir+"/blobs"))
	if err := l.Put(t.Context(), d, strings.NewReader("SECRET")); err == nil {
		t.Error("it wrote outside")
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	load := func() error {
		_, err := Load(t.Context(), NewDirectory(dir), "x", "latest", oci.HostPlatform())
		return err
	}
	if _, err := Load(t.Context(), NewDirectory(dir+"/none"), "x", "latest", oci.HostPlatform()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if err := load(); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("an empty directory: %v", err)
	}
	l := NewDirectory(dir)
	done, err := l.Begin()
	must(t, err)
	doc := sample()
	must(t, l.Put(t.Context(), doc.Layers[0].Blob, strings.NewReader("blob")))
	must(t, Save(t.Context(), l, "latest", doc))
	must(t, done())
	must(t, load())
	// A layer that is not there is not offered.
	must(t, os.Remove(dir+"/"+blobName(doc.Layers[0].Blob.Digest)))
	c, err := Load(t.Context(), l, "x", "latest", oci.HostPlatform())
	must(t, err)
	i := &Imports{}
	i.Add(c)
	if _, ok := i.Find(id("k1"), id("base")); ok {
		t.Error("a layer without a blob is offered")
	}
	for _, text := range []string{"", "{", `{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha256:x","size":1}]}`} {
		must(t, os.WriteFile(dir+"/index.json", []byte(text), 0o600))
		if err := load(); err == nil {
			t.Errorf("index %q: no error", text)
		}
	}
}

// inlineConfig is the config of an image with a cache.
func inlineConfig(in *Inline) []byte {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := Config{Inline: in, ImageConfig: oci.ImageConfig{
		Architecture: "amd64", OS: "linux", Created: &at, RootFS: oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{id("base"), id("one"), id("two")}},
		History: []oci.History{{CreatedBy: "base", Created: &at}, {CreatedBy: "one", Created: &at}, {EmptyLayer: true}, {CreatedBy: "two", Created: &at}},
	}}
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestInline(t *testing.T) {
	in := NewInline(1)
	in.Steps = []InlineStep{{id("k2"), 2}, {id("no change"), 2}, {id("hollow"), -1}, {id("k1"), 1}}
	in.Sort()
	d, err := ParseInline(inlineConfig(in))
	must(t, err)
	i := &Imports{}
	i.Add(NewImport("image", d, nil))
	stack, ok := i.Find(id("k2"), id("base"))
	if !ok || len(stack) != 2 || stack[0].Key != id("k1") || stack[1].Key != id("k2") || stack[1].Text != "two" {
		t.Errorf("%+v, %v", stack, ok)
	}
	if _, ok := i.Find(id("hollow"), id("base")); ok || !i.Knows(id("hollow")) {
		t.Error("the hollow step")
	}
	if d, err := ParseInline(inlineConfig(nil)); d != nil || err != nil {
		t.Errorf("without a cache: %v, %v", d, err)
	}
	for _, in := range []*Inline{{Version: 9}, {Version: 1, Base: 4}, {Version: 1, Base: -1}, {Version: 1, Base: 1, Steps: []InlineStep{{id("x"), 3}}}, {Version: 1, Steps: []InlineStep{{"x", 1}}}} {
		if _, err := ParseInline(inlineConfig(in)); err == nil {
			t.Errorf("%+v: no error", in)
		}
	}
}

func FuzzParse(f *testing.F) {
	raw, err := sample().Encode()
	must(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := Parse(raw)
		if err != nil {
			return
		}
		i := &Imports{}
		i.Add(NewImport("x", d, nil))
		for _, s := range d.Steps {
			i.Find(s.Key, "")
		}
		again, err := d.Encode()
		if err != nil {
			return // what it says in other words may be longer
		}
		if _, err := Parse(again); err != nil {
			t.Errorf("%v: %s", err, again)
		}
	})
}

func FuzzParseInline(f *testing.F) {
	in := NewInline(1)
	in.Steps = []InlineStep{{id("k1"), 1}, {id("hollow"), -1}}
	f.Add(inlineConfig(in))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if d, err := ParseInline(raw); err == nil && d != nil {
			(&Imports{}).Add(NewImport("x", d, nil))
		}
	})
}
