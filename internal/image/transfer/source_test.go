package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/imagetest"
	"berth/internal/oci"
	"berth/internal/reference"
)

// memory is a repository in memory. It counts what is asked of it.
type memory struct {
	mu      sync.Mutex
	content map[oci.Digest][]byte
	types   map[oci.Digest]string
	tags    map[string]oci.Digest
	fetched map[oci.Digest]int64 // bytes by blob
	asked   int                  // requests for manifests
	// requests counts those for each blob, and whole is set if there are no ranges.
	requests map[oci.Digest]int
	whole    bool
	// body wraps what a blob is read from.
	body func(d oci.Descriptor, r io.Reader) io.Reader
}

// repository returns a repository that has the images under tags "1", "2", ...
func repository(images ...*imagetest.Built) *memory {
	m := &memory{content: map[oci.Digest][]byte{}, types: map[oci.Digest]string{}, tags: map[string]oci.Digest{}, fetched: map[oci.Digest]int64{}, requests: map[oci.Digest]int{}}
	for i, b := range images {
		maps.Copy(m.content, b.Content())
		m.tag(fmt.Sprint(i+1), b.Manifest.MediaType, b.ManifestDoc)
	}
	return m
}

func (m *memory) tag(tag, mediaType string, doc []byte) {
	d := oci.DigestOf(doc)
	m.content[d], m.types[d], m.tags[tag] = doc, mediaType, d
}

func (m *memory) Resolve(ctx context.Context, ref string) (oci.Descriptor, error) {
	d, doc, err := m.Manifest(ctx, ref)
	if tagged, ok := m.tags[ref]; ok { // as the digest header says, whatever the content is
		d.Digest, d.Size = tagged, int64(len(doc))
	}
	return d, err
}

func (m *memory) Manifest(_ context.Context, ref string) (oci.Descriptor, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	d, ok := m.tags[ref]
	if !ok {
		d = oci.Digest(ref)
	}
	doc, ok := m.content[d]
	if !ok {
		return oci.Descriptor{}, nil, errdefs.New(errdefs.NotFound, "manifest unknown")
	}
	return oci.Descriptor{MediaType: m.types[d], Digest: oci.DigestOf(doc), Size: int64(len(doc))}, doc, nil
}

func (m *memory) Blob(_ context.Context, d oci.Descriptor, from, to int64) (io.ReadCloser, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.content[d.Digest]
	if !ok {
		return nil, false, errdefs.New(errdefs.NotFound, "blob unknown")
	}
	if m.whole || to == d.Size {
		to = int64(len(b)) // whatever that is
	}
	m.requests[d.Digest]++
	var r io.Reader = bytes.NewReader(b[min(from, int64(len(b))):max(min(to, int64(len(b))), min(from, int64(len(b))))])
	if m.body != nil {
		r = m.body(d, r)
	}
	return io.NopCloser(&watchedSafe{m, d.Digest, r}), m.whole, nil
}

type watchedSafe struct {
	m *memory
	d oci.Digest
	r io.Reader
}

func (w *watchedSafe) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.m.mu.Lock()
	w.m.fetched[w.d] += int64(n)
	w.m.mu.Unlock()
	return n, err
}

func (m *memory) Tags(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(m.tags)), nil
}

// store returns a Store over a new data root.
func store(t testing.TB) *Store {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("layers need root")
	}
	return New(t.TempDir(), 0)
}

func named(t testing.TB, s string) reference.Named {
	t.Helper()
	n, err := reference.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func three() imagetest.Image {
	return imagetest.Image{
		Names: []string{"team/app:1"},
		Layers: []imagetest.Layer{
			{imagetest.Dir("etc/"), {Name: "etc/a", Body: "1"}, {Name: "tmp/", Type: '5', Mode: 0o1777}},
			{{Name: "etc/b", Body: "2"}, {Name: "etc/.wh.a"}},
			{{Name: "tmp/c", Body: strings.Repeat("3", 300_000)}},
		},
		Config: oci.RunConfig{Cmd: []string{"/bin/sh"}},
	}
}

// checkImage holds a stored image to what was built.
func checkImage(t testing.TB, s *Store, ref string, b *imagetest.Built) *catalog.Image {
	t.Helper()
	img, err := s.images.Resolve(ref)
	if err != nil {
		t.Fatal(err)
	}
	if img.ID != b.ID() || !bytes.Equal(img.Raw, b.ConfigDoc) {
		t.Fatalf("%s is %s, want %s", ref, img.ID, b.ID())
	}
	for i, chain := range catalog.ChainIDs(b.DiffIDs) {
		l, err := s.images.Layer(chain)
		if err != nil {
			t.Fatal(err)
		}
		if l.DiffID != b.DiffIDs[i] {
			t.Errorf("layer %d is %s", i, l.DiffID)
		}
		for _, f := range b.Layers[i] {
			if f.Type != 0 || strings.Contains(f.Name, ".wh.") {
				continue
			}
			got, err := os.ReadFile(filepath.Join(s.layers.Diff(l.Snapshot), f.Name))
			if err != nil || string(got) != f.Body {
				t.Errorf("layer %d, %s: %d bytes, %v", i, f.Name, len(got), err)
			}
		}
	}
	return img
}

// checkEmpty fails if anything is left of what was not finished: after the
// garbage collections there may be no layer without an image.
func checkEmpty(t testing.TB, s *Store) {
	t.Helper()
	if _, err := s.images.SweepDownloads(time.Now()); err != nil {
		t.Error(err)
	}
	collect(t, s)
	left, err := filepath.Glob(filepath.Join(s.layers.Dir(), "*"))
	if err != nil {
		t.Error(err)
	}
	hidden, err := filepath.Glob(filepath.Join(s.layers.Dir(), ".*"))
	if err != nil {
		t.Error(err)
	}
	for _, path := range append(left, hidden...) {
		if filepath.Base(path) != "l" && !strings.HasSuffix(path, ".lock") {
			t.Errorf("left: %s", path)
		}
	}
	for _, dir := range []string{s.images.PartialDir(), s.images.TransferLockDir()} {
		if names, err := os.ReadDir(dir); err == nil && len(names) > 0 {
			t.Errorf("left in %s: %v", dir, names)
		}
	}
}

// recorder keeps the events of a transfer.
type recorder struct {
	mu     sync.Mutex
	events []Event
}

func (r *recorder) report(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// of returns the statuses of one id, each once in a row.
func (r *recorder) of(id string) (list []Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.ID == id && (len(list) == 0 || list[len(list)-1] != e.Status) {
			list = append(list, e.Status)
		}
	}
	return list
}

var errBroken = errors.New("broken for the test")

// after lets n bytes through and then fails.
func after(n int64, r io.Reader, err error) io.Reader {
	return io.MultiReader(io.LimitReader(r, n), readerFunc(func([]byte) (int, error) { return 0, err }))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// modeOf returns a file's mode bits in a layer.
func modeOf(t testing.TB, s *Store, chain oci.Digest, name string) uint32 {
	t.Helper()
	l, err := s.images.Layer(chain)
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(s.layers.Diff(l.Snapshot), name), &st); err != nil {
		t.Fatal(err)
	}
	return st.Mode & 0o7777
}

// collect runs the garbage collections of the store.
func collect(t testing.TB, s *Store) {
	t.Helper()
	none := func(string) bool { return false }
	r, err := s.images.Exclusive()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Sweep(none); err != nil {
		t.Error(err)
	}
	if err := errors.Join(r.GC(none), r.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.layers.Reclaim(t.Context()); err != nil {
		t.Error(err)
	}
}

// slow lets a few bytes through at a time.
func slow(_ oci.Descriptor, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		time.Sleep(2 * time.Millisecond)
		return r.Read(p[:min(len(p), 16)])
	})
}
