package engine

import (
	"testing"
	"time"

	"berth/internal/build/cache"
)

// buildStep puts a layer on top of another into the build cache.
func buildStep(t testing.TB, e *Engine, below string) string {
	t.Helper()
	lease, err := e.images.Lease()
	must(t, err)
	defer lease.Close()
	d, err := e.snapshots.Begin(below)
	must(t, err)
	defer d.Discard()
	r := cache.Record{Key: cache.NewKey("test").Add("below", below).Sum(), Type: cache.Regular, Layer: d.ID(), Below: below, Size: 5, Created: time.Now(), Text: "RUN x"}
	must(t, cache.Open(e.opt.DataRoot).Put(t.Context(), lease, r, func() error { _, err := d.CommitUnsynced(t.Context()); return err }))
	return d.ID()
}

// What the build cache stands on survives the removal of images, whole: its own
// layers, and those of the base image below them.
func TestImageRemovalSparesTheBuildCache(t *testing.T) {
	e := testEngine(t)
	testImage{layers: "a b", tags: "base"}.add(t, e)
	testImage{layers: "a other", tags: "other"}.add(t, e)
	img, err := e.images.Resolve("base")
	must(t, err)
	other, err := e.images.Resolve("other")
	must(t, err)
	step := buildStep(t, e, img.TopLayer)
	for _, name := range []string{"base", "other"} {
		_, err = e.Images.Remove(t.Context(), name, false, false)
		must(t, err)
	}
	_, _, err = e.Images.Prune(t.Context(), true, nil)
	must(t, err)
	if !e.snapshots.Exists(step) || !e.snapshots.Exists(img.TopLayer) {
		t.Fatal("a layer of the build cache was removed")
	}
	if e.snapshots.Exists(other.TopLayer) {
		t.Error("a layer that nobody uses was kept")
	}
	if ids, _, err := e.System.PruneBuildCache(t.Context(), false, Filters{"until": {"1h"}}); err != nil || len(ids) != 0 {
		t.Errorf("pruned %v, %v", ids, err)
	}
	if ids, _, err := e.System.PruneBuildCache(t.Context(), false, Filters{"label": {"a"}}); err != nil || len(ids) != 0 {
		t.Errorf("pruned %v, %v", ids, err)
	}
	ids, freed, err := e.System.PruneBuildCache(t.Context(), false, nil)
	if err != nil || len(ids) != 1 || freed != 5 {
		t.Errorf("pruned %v, %d bytes, %v", ids, freed, err)
	}
	if e.snapshots.Exists(step) || e.snapshots.Exists(img.TopLayer) {
		t.Error("layers that nobody uses are left")
	}
}
