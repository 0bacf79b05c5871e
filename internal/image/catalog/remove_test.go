package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/internal/errdefs"
)

func TestRemoveKeepsSharedLayers(t *testing.T) {
	s := Open(t.TempDir())
	a := image(t, s, "base a", "a")
	b := image(t, s, "base b b2", "b")
	must(t, s.layers.Prepare("container", b.TopLayer))
	below, err := s.layers.Below("container")
	must(t, err)

	gone, err := remove(s, a.ID, noContainers)
	if err != nil || len(gone) != 1 || gone[0].DiffID != diffID("a") {
		t.Errorf("removed %v, %v; want layer a alone", gone, err)
	}
	if s.layers.Exists(gone[0].Snapshot) {
		t.Error("the layer's directory is there")
	}
	// b's container keeps its layers even when the image is forced away.
	gone, err = remove(s, b.ID, func(id string) bool { return slices.Contains(below, id) })
	if err != nil || len(gone) != 0 {
		t.Errorf("removed %v, %v; a container uses them", gone, err)
	}
	must(t, s.layers.Remove("container"))
	r, err := s.Exclusive()
	must(t, err)
	gone, err = r.Sweep(noContainers)
	must(t, err)
	must(t, r.GC(noContainers))
	must(t, r.Close())
	_, err = s.layers.Reclaim(context.Background())
	must(t, err)
	if len(gone) != 3 {
		t.Errorf("Sweep removed %d layers, want 3", len(gone))
	}
	if got := ls(t, s.layers.Dir()); !slices.Equal(got, []string{"l"}) {
		t.Errorf("left: %v", got)
	}
	if got := ls(t, s.layerDir()); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestLeaseProtects(t *testing.T) {
	s := Open(t.TempDir())
	l, err := s.Lease()
	must(t, err)
	must(t, addLayers(s, l, "a", "b"))
	sweep := func() int {
		r, err := s.Exclusive()
		must(t, err)
		defer r.Close()
		gone, err := r.Sweep(noContainers)
		must(t, err)
		must(t, r.GC(noContainers))
		return len(gone)
	}
	if n := sweep(); n != 0 {
		t.Fatalf("%d layers under lease were removed", n)
	}
	img, err := l.Put(context.Background(), config("", "a", "b"), "")
	must(t, err)
	if _, err := remove(s, img.ID, noContainers); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("removing an image under lease: %v", err)
	}
	must(t, l.Close())
	if gone, err := remove(s, img.ID, noContainers); err != nil || len(gone) != 2 {
		t.Errorf("after the lease: %v, %v", gone, err)
	}
	if got := ls(t, s.leaseDir()); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}

func TestSweepRemovesTemps(t *testing.T) {
	s := Open(t.TempDir())
	img := image(t, s, "a", "app")
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	live := s.layerDir() + "/" + tempPrefix + filepath.Base(l.path) + "-x"
	dead := []string{s.content(img.ID)[:len(s.contentDir())+1] + ".abc.1-1.tmp", s.dir + "/.repositories.json.1-1.tmp", s.layerDir() + "/" + tempPrefix + "GONE-x", s.layerDir() + "/" + trashPrefix + "x"}
	for _, path := range append([]string{live}, dead...) {
		must(t, os.Mkdir(path, 0o700))
	}
	r, err := s.Exclusive()
	must(t, err)
	_, err = r.Sweep(noContainers)
	must(t, err)
	must(t, r.Close())
	if _, err := os.Stat(live); err != nil {
		t.Errorf("the record that a live pull writes: %v", err)
	}
	for _, path := range dead {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("left: %s", path)
		}
	}
	if _, err := s.Resolve("app"); err != nil {
		t.Error(err)
	}
}

func TestSameLayerTwice(t *testing.T) {
	s := Open(t.TempDir())
	l, err := s.Lease()
	must(t, err)
	defer l.Close()
	var first Layer
	for i := range 2 {
		d, err := s.layers.Begin("")
		must(t, err)
		got, err := l.AddLayer(context.Background(), NewLayer{Draft: d, DiffID: diffID("x"), Extra: func(dir string) error {
			return os.WriteFile(dir+"/extra", []byte("e"), 0o600)
		}})
		must(t, err)
		if i == 0 {
			first = got
		} else if got != first {
			t.Errorf("second AddLayer = %+v, want the first's %+v", got, first)
		}
	}
	if got := ls(t, s.LayerDir(diffID("x"))); !slices.Equal(got, []string{"cache-id", "diff", "extra", "size"}) {
		t.Errorf("record holds %v", got)
	}
	if got := ls(t, s.layers.Dir()); len(got) != 2 {
		t.Errorf("layers: %v, want one and l", got)
	}
	// A draft on other files than its chain says would make a wrong image.
	d, err := s.layers.Begin("")
	must(t, err)
	defer d.Discard()
	if _, err := l.AddLayer(context.Background(), NewLayer{Draft: d, Parent: first.Chain, DiffID: diffID("y")}); err == nil {
		t.Error("a layer on the wrong parent was stored")
	}
}
