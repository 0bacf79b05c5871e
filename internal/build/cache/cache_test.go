package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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

// world is a cache and a build that uses it.
type world struct {
	testing.TB
	root  string
	c     *Cache
	lease *catalog.Lease
}

func newWorld(t testing.TB) *world {
	root := t.TempDir()
	w := &world{TB: t, root: root, c: Open(root)}
	w.begin()
	t.Cleanup(func() { w.lease.Close() })
	return w
}

// begin starts another build.
func (w *world) begin() {
	w.Helper()
	if w.lease != nil {
		must(w, w.lease.Close())
	}
	var err error
	w.lease, err = catalog.Open(w.root).Lease()
	must(w, err)
}

// step records a layer of size bytes on another one.
func (w *world) step(text, below string, size int) Record {
	w.Helper()
	d, err := w.c.layers.Begin(below)
	must(w, err)
	defer d.Discard()
	must(w, os.WriteFile(d.Dir()+"/file", make([]byte, size), 0o644))
	r := Record{Key: NewKey("test").Add("text", text, below).Sum(), Type: Regular, Layer: d.ID(), Below: below, Size: int64(size), Created: time.Now(), Text: text}
	must(w, w.c.Put(w.Context(), w.lease, r, func() error { _, err := d.CommitUnsynced(w.Context()); return err }))
	return r
}

func (w *world) get(r Record) *Record {
	w.Helper()
	have, err := w.c.Get(w.Context(), w.lease, r.Key, r.Below)
	must(w, err)
	return have
}

func (w *world) age(r Record, hours int) {
	at := time.Now().Add(-time.Duration(hours) * time.Hour)
	must(w, os.Chtimes(w.c.path(r.Key), at, at))
}

func (w *world) prune(o PruneOptions) []string {
	w.Helper()
	p, err := w.c.Prune(w.Context(), o)
	must(w, err)
	var texts []string
	for _, i := range p.Items {
		texts = append(texts, i.Text)
	}
	return texts
}

// clean checks that nothing but empty directories is left.
func (w *world) clean() {
	w.Helper()
	w.begin()
	w.prune(PruneOptions{All: true})
	var left []string
	for _, dir := range []string{w.root + "/build", w.c.layers.Dir()} {
		must(w, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if path == dir && errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && !e.IsDir() && !strings.Contains(path, "/digests/") && e.Name() != "collected" {
				left = append(left, strings.TrimPrefix(path, w.root))
			}
			return err
		}))
	}
	if len(left) > 0 {
		w.Errorf("left: %q", left)
	}
}

func TestRecords(t *testing.T) {
	w := newWorld(t)
	one := w.step("one", "", 10)
	if r := w.get(one); r == nil || r.Layer != one.Layer || !r.Changed() {
		t.Fatalf("record %+v", r)
	}
	other := one
	if other.Below = "x"; w.get(other) != nil {
		t.Error("a hit for who stands on another layer")
	}
	must(t, w.c.Learn(one.Key, one.Layer, oci.DigestOf([]byte("tar"))))
	must(t, w.c.Learn(one.Key, "another layer", oci.DigestOf([]byte("wrong"))))
	if r := w.get(one); r.DiffID != oci.DigestOf([]byte("tar")) {
		t.Errorf("diff id %s", r.DiffID)
	}
	// A step that changed nothing.
	same := Record{Key: NewKey("test").Add("same").Sum(), Type: Regular, Layer: one.Layer, Below: one.Layer, Created: time.Now()}
	must(t, w.c.Put(t.Context(), w.lease, same, nil))
	if r := w.get(same); r == nil || r.Changed() {
		t.Errorf("record %+v", r)
	}
	// What is not synced does not count in the next boot.
	next := Open(w.root)
	next.boot = "another"
	if r, err := next.Get(t.Context(), w.lease, one.Key, ""); r != nil || err != nil {
		t.Errorf("in the next boot: %+v, %v", r, err)
	}
	must(t, w.c.Synced(one.Key, one.Layer))
	if r, err := next.Get(t.Context(), w.lease, one.Key, ""); r == nil || err != nil {
		t.Errorf("synced, in the next boot: %+v, %v", r, err)
	}
	// The layer is gone: a miss, and the record goes.
	two := w.step("two", one.Layer, 1)
	must(t, w.c.layers.Remove(two.Layer))
	if w.get(two) != nil {
		t.Error("a hit without a layer")
	}
	if _, err := os.Lstat(w.c.path(two.Key)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the record is still there: %v", err)
	}
	w.clean()
}

func TestDamagedRecordsAreMisses(t *testing.T) {
	w := newWorld(t)
	good := w.step("good", "", 1)
	text, err := os.ReadFile(w.c.path(good.Key))
	must(t, err)
	for _, damaged := range []string{
		"", "{}", "null", string(text[:len(text)/2]), strings.Repeat("\x00", len(text)), strings.Replace(string(text), good.Key.Hex()[:8], "00000000", 1),
		strings.Replace(string(text), good.Layer, "../../../etc", 1), strings.Replace(string(text), `"size":1`, `"size":-1`, 1), strings.Replace(string(text), "regular", "odd", 1),
	} {
		must(t, os.WriteFile(w.c.path(good.Key), []byte(damaged), 0o600))
		if r := w.get(good); r != nil {
			t.Errorf("%q is a record: %+v", damaged, r)
		}
		if _, err := os.Lstat(w.c.path(good.Key)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q was left", damaged)
		}
	}
	w.clean()
}

func TestLock(t *testing.T) {
	w := newWorld(t)
	key := NewKey("lock").Sum()
	unlock, err := w.c.Lock(t.Context(), key)
	must(t, err)
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.c.Lock(short, key); !errors.Is(err, errdefs.Cancelled) {
		t.Errorf("a second lock: %v", err)
	}
	unlock()
	n, most := 0, 0
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 50 {
		all.Go(func() {
			unlock, err := w.c.Lock(t.Context(), key)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			n++
			most = max(most, n)
			mu.Unlock()
			mu.Lock()
			n--
			mu.Unlock()
			unlock()
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d had the lock at once", most)
	}
	w.clean()
}

func TestPruneOrder(t *testing.T) {
	w := newWorld(t)
	a := w.step("a", "", 100)
	b := w.step("b", a.Layer, 100)
	c := w.step("c", "", 100)
	d := w.step("d", "", 100)
	for i, r := range []Record{a, b, c, d} {
		w.age(r, 10-i)
	}
	if got := w.prune(PruneOptions{All: true}); len(got) != 0 {
		t.Errorf("what a running build stands on was removed: %q", got)
	}
	w.begin()
	if w.get(c) == nil { // another build uses it now
		t.Fatal("no record")
	}
	w.age(c, 8)
	items, err := w.c.Usage(t.Context())
	must(t, err)
	var rows []string
	for _, i := range items {
		rows = append(rows, fmt.Sprintln(i.Text, i.Size, i.InUse, i.Reclaimable(), len(i.Parents)))
	}
	if want := []string{"a 100 false true 0\n", "b 100 false true 1\n", "c 100 true false 0\n", "d 100 false true 0\n"}; !slices.Equal(rows, want) {
		t.Errorf("usage %q", rows)
	}
	// The oldest is below another: that one goes first. c is in use.
	if got := w.prune(PruneOptions{Keep: 300}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("pruned %q", got)
	}
	if got := w.prune(PruneOptions{Keep: 199}); !slices.Equal(got, []string{"a", "d"}) {
		t.Errorf("pruned %q", got)
	}
	w.begin()
	if got := w.prune(PruneOptions{Match: func(i *Item) bool { return i.Text != "c" }}); len(got) != 0 {
		t.Errorf("pruned %q", got)
	}
	if got := w.prune(PruneOptions{}); !slices.Equal(got, []string{"c"}) {
		t.Errorf("pruned %q", got)
	}
	w.clean()
}

// Layers of an image cost nothing to keep, and are not taken from it.
func TestSharedWithAnImage(t *testing.T) {
	w := newWorld(t)
	a := w.step("a", "", 100)
	b := w.step("b", a.Layer, 100)
	layers, err := w.lease.Adopt(t.Context(), "", []catalog.Layer{{DiffID: oci.DigestOf([]byte("a")), Snapshot: a.Layer, Size: 100}})
	must(t, err)
	img, err := w.lease.Put(t.Context(), []byte(`{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["`+string(layers[0].DiffID)+`"]}}`), "")
	must(t, err)
	w.begin()
	if got := w.prune(PruneOptions{Keep: 1}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("pruned %q", got)
	}
	if got := w.prune(PruneOptions{}); len(got) != 0 {
		t.Errorf("pruned %q", got)
	}
	items, err := w.c.Usage(t.Context())
	must(t, err)
	if len(items) != 1 || !items[0].Shared || items[0].Reclaimable() {
		t.Errorf("usage %+v", items)
	}
	if got := w.prune(PruneOptions{All: true}); !slices.Equal(got, []string{"a"}) || !w.c.layers.Exists(a.Layer) || w.c.layers.Exists(b.Layer) {
		t.Errorf("pruned %q", got)
	}
	// Without the image its record goes with the next collection.
	right, err := w.c.images.Exclusive()
	must(t, err)
	_, err = right.Images([]oci.Digest{img.ID}, func(string) bool { return true })
	must(t, errors.Join(err, right.Close()))
	w.clean()
}

// There is no need to collect anything while there is room, unless it was long ago.
func TestEnforce(t *testing.T) {
	w := newWorld(t)
	a := w.step("a", "", 100)
	left := w.step("left", "", 100)
	w.begin()
	must(t, w.c.drop(left.Key)) // as a killed build
	enforce := func(limit int64) int {
		t.Helper()
		p, err := w.c.Enforce(t.Context(), limit)
		must(t, err)
		return len(p.Items)
	}
	if n := enforce(100); n != 0 || w.c.layers.Exists(left.Layer) {
		t.Errorf("%d items removed, or a layer without a name kept", n)
	}
	left = w.step("left", "", 0)
	w.begin()
	must(t, w.c.drop(left.Key))
	if n := enforce(100); n != 0 || !w.c.layers.Exists(left.Layer) {
		t.Errorf("%d items removed, or collected without a need", n)
	}
	old := time.Now().Add(-2 * collectEvery)
	must(t, os.Chtimes(w.root+"/build/collected", old, old))
	if n := enforce(100); n != 0 || w.c.layers.Exists(left.Layer) {
		t.Errorf("%d items removed, or a layer without a name kept", n)
	}
	if n := enforce(99); n != 1 || w.c.layers.Exists(a.Layer) {
		t.Errorf("%d items removed", n)
	}
}

// A container keeps the layers it lies on though image and records are gone.
func TestContainersKeepTheirLayers(t *testing.T) {
	w := newWorld(t)
	a := w.step("a", "", 100)
	id := strings.Repeat("c", 64)
	must(t, w.c.layers.Prepare(id, a.Layer))
	w.begin()
	w.prune(PruneOptions{All: true})
	if !w.c.layers.Exists(a.Layer) {
		t.Error("the layer under a container is gone")
	}
	must(t, w.c.layers.Remove(id))
	w.clean()
}

func TestMemory(t *testing.T) {
	w := newWorld(t)
	key := NewKey("memory").Sum()
	if d, err := w.c.Recall(key); d != "" || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	want := oci.DigestOf([]byte("x"))
	must(t, w.c.Remember(key, want))
	if d, err := w.c.Recall(key); d != want || err != nil {
		t.Errorf("%s, %v", d, err)
	}
	must(t, os.WriteFile(w.c.memoDir()+"/"+key.Hex(), []byte("sha"), 0o600))
	if d, err := w.c.Recall(key); d != "" || err != nil {
		t.Errorf("damaged: %s, %v", d, err)
	}
	old := time.Now().Add(-2 * keepMemo)
	must(t, os.Chtimes(w.c.memoDir()+"/"+key.Hex(), old, old))
	w.prune(PruneOptions{})
	if _, err := os.Lstat(w.c.memoDir() + "/" + key.Hex()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old digest was kept: %v", err)
	}
}

func TestMountNames(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"../../../etc", "/", "", "a\x00b", strings.Repeat("x", 5000)} {
		m, err := w.c.Mount(t.Context(), MountRequest{ID: id, Sharing: "shared"})
		must(t, err)
		if !strings.HasPrefix(m.Dir.Name(), w.c.mountDir()+"/") || strings.Contains(m.Dir.Name(), "..") {
			t.Errorf("%q is at %s", id, m.Dir.Name())
		}
		must(t, m.Close())
	}
	if _, err := w.c.Mount(t.Context(), MountRequest{ID: "x", Sharing: "odd"}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("an unknown way of sharing: %v", err)
	}
	// Private: whoever comes second gets a directory of his own, and later the first again.
	p := MountRequest{ID: "p", Sharing: "private", Mode: 0o1777, UID: 7, GID: 8}
	one, err := w.c.Mount(t.Context(), p)
	must(t, err)
	two, err := w.c.Mount(t.Context(), p)
	must(t, err)
	if one.Dir.Name() == two.Dir.Name() {
		t.Error("two programs have one private mount")
	}
	if info, err := one.Dir.Stat(); err != nil || info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if got := w.prune(PruneOptions{}); len(got) != 5 {
		t.Errorf("pruned %q", got)
	}
	must(t, one.Close())
	must(t, two.Close())
	// A mount whose filling fails is not there.
	q := MountRequest{ID: "q", Sharing: "locked", Fill: func(context.Context, *os.File) error { return errdefs.NotFound }}
	if _, err := w.c.Mount(t.Context(), q); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("a filling that fails: %v", err)
	}
	w.clean()
}

func TestDefaultLimit(t *testing.T) {
	n, err := DefaultLimit(t.TempDir())
	if err != nil || n <= 0 {
		t.Errorf("%d, %v", n, err)
	}
	if m, err := DefaultLimit("/no/such/directory"); err != nil || m <= 0 {
		t.Errorf("%d, %v", m, err)
	}
}

// A thousand steps, ten on top of each other: what a build that made something
// waits for at its end.
func BenchmarkEnforce(b *testing.B) {
	w := newWorld(b)
	for i := range 100 {
		below := ""
		for range 10 {
			below = w.step(fmt.Sprint(i), below, 1).Layer
		}
	}
	w.begin()
	for b.Loop() {
		if _, err := w.c.Enforce(b.Context(), 1<<40); err != nil {
			b.Fatal(err)
		}
	}
}
