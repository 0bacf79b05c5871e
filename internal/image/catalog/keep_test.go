package catalog

import (
	"errors"
	"strings"
	"testing"

	"berth/internal/errdefs"
)

// loose commits a layer that no record names, and keeps it.
func loose(t testing.TB, s *Store, l *Lease, below string) string {
	t.Helper()
	d, err := s.layers.Begin(below)
	must(t, err)
	defer d.Discard()
	kept, err := l.Keep(t.Context(), d.ID(), func() error { _, err := d.CommitUnsynced(t.Context()); return err })
	if err != nil || !kept {
		t.Fatalf("kept %v, %v", kept, err)
	}
	return d.ID()
}

// sweep removes what nobody uses.
func sweep(t testing.TB, s *Store) {
	t.Helper()
	nobody := func(string) bool { return false }
	right, err := s.Exclusive()
	must(t, err)
	_, err = right.Sweep(nobody)
	must(t, errors.Join(err, right.GC(nobody), right.Close()))
	_, err = s.layers.Reclaim(t.Context())
	must(t, err)
}

func TestKeptLayers(t *testing.T) {
	s := Open(t.TempDir())
	l, err := s.Lease()
	must(t, err)
	a := loose(t, s, l, "")
	b := loose(t, s, l, a)
	sweep(t, s)
	if !s.layers.Exists(a) || !s.layers.Exists(b) {
		t.Error("a layer that a lease keeps was removed")
	}
	right, err := s.Exclusive()
	must(t, err)
	if !right.Kept(b) || right.Kept(strings.Repeat("0", 64)) {
		t.Error("what is kept is not known")
	}
	must(t, right.Close())
	must(t, l.Close())
	sweep(t, s)
	if s.layers.Exists(a) || s.layers.Exists(b) {
		t.Error("the layers outlived the lease")
	}
	l, err = s.Lease()
	must(t, err)
	defer l.Close()
	if kept, err := l.Keep(t.Context(), a, nil); kept || err != nil {
		t.Errorf("a layer that is gone: %v, %v", kept, err)
	}
	if _, err := l.Keep(t.Context(), "../x", nil); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("no id: %v", err)
	}
	enough := errors.New("enough")
	if _, err := l.Keep(t.Context(), a, func() error { return enough }); !errors.Is(err, enough) {
		t.Errorf("a commit that fails: %v", err)
	}
}

func TestAdopt(t *testing.T) {
	s := Open(t.TempDir())
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	a := loose(t, s, l, "")
	b := loose(t, s, l, a)
	stack := []Layer{{DiffID: diffID("a"), Snapshot: a, Size: 1}, {DiffID: diffID("b"), Snapshot: b, Size: 2}}
	layers, err := l.Adopt(t.Context(), "", stack)
	must(t, err)
	if have, err := s.Layer(layers[1].Chain); err != nil || have != layers[1] || have.Parent != diffID("a") || have.Chain != ChainID(diffID("a"), diffID("b")) {
		t.Errorf("record %+v, %v", have, err)
	}
	img, err := l.Put(t.Context(), config("x", "a", "b"), "")
	must(t, err)
	if img.TopLayer != b {
		t.Errorf("image on %s", img.TopLayer)
	}
	// The same again is no error and no second record.
	if _, err := l.Adopt(t.Context(), "", stack); err != nil {
		t.Error(err)
	}
	// Equal content elsewhere, or another stack below, is for the caller to sort out.
	c := loose(t, s, l, a)
	if _, err := l.Adopt(t.Context(), diffID("a"), []Layer{{DiffID: diffID("b"), Snapshot: c}}); !errors.Is(err, errdefs.AlreadyExists) {
		t.Errorf("other files of the same content: %v", err)
	}
	if _, err := l.Adopt(t.Context(), layers[1].Chain, []Layer{{DiffID: diffID("c"), Snapshot: c}}); !errors.Is(err, errdefs.AlreadyExists) {
		t.Errorf("a layer on another stack: %v", err)
	}
	if _, err := l.Adopt(t.Context(), "", []Layer{{DiffID: "sha256:x", Snapshot: c}}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("no digest: %v", err)
	}
	must(t, l.Close())
	// Images keep them; what only the lease kept goes.
	right, err := s.Exclusive()
	must(t, err)
	used, err := right.ImageLayers()
	must(t, errors.Join(err, right.Close()))
	if len(used) != 2 || !used[a] || !used[b] {
		t.Errorf("layers of images: %v", used)
	}
	sweep(t, s)
	if s.layers.Exists(c) || !s.layers.Exists(b) {
		t.Error("the wrong layers were removed")
	}
	if entries, err := s.chains(); err != nil || len(entries) != 2 {
		t.Errorf("records %v, %v", entries, err)
	}
}

// Records appear after the layers are on disk, lowest first.
func TestAdoptOrder(t *testing.T) {
	s := Open(t.TempDir())
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	a := loose(t, s, l, "")
	b := loose(t, s, l, a)
	var steps []string
	s.at = func(name string) { steps = append(steps, name) }
	_, err = l.Adopt(t.Context(), "", []Layer{{DiffID: diffID("a"), Snapshot: a}, {DiffID: diffID("b"), Snapshot: b}})
	must(t, err)
	if got := strings.Join(steps, ", "); got != "write record, write record, sync layers, rename record, rename record, sync records" {
		t.Error(got)
	}
}

// Two builds that did the same may record it at the same moment.
func TestAdoptRace(t *testing.T) {
	root := t.TempDir()
	s, other := Open(root), Open(root)
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	a := loose(t, s, l, "")
	stack := []Layer{{DiffID: diffID("a"), Snapshot: a, Size: 1}}
	s.at = func(name string) {
		if name == "rename record" { // the other one is faster by a hair
			s.at = nil
			l, err := other.Lease()
			must(t, err)
			_, err = l.Adopt(t.Context(), "", stack)
			must(t, errors.Join(err, l.Close()))
		}
	}
	layers, err := l.Adopt(t.Context(), "", stack)
	must(t, err)
	if have, err := s.Layer(layers[0].Chain); err != nil || have != layers[0] {
		t.Errorf("record %+v, %v", have, err)
	}
	if entries, err := s.chains(); err != nil || len(entries) != 1 {
		t.Errorf("records %v, %v", entries, err)
	}
}
