package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/container"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/reference"
)

// removedText is what rmi prints, ids shortened.
func removedText(records []RemovedImage) string {
	var out []string
	for _, r := range records {
		if r.Untagged != "" {
			out = append(out, "-"+r.Untagged)
			continue
		}
		out = append(out, "x"+ident.Short(strings.TrimPrefix(r.Deleted, "sha256:")))
	}
	return strings.Join(out, " ")
}

func short(id string) string { return ident.Short(strings.TrimPrefix(id, "sha256:")) }

// chainShort is the short chain id of a stack of test layers.
func chainShort(layers string) string {
	var ids []oci.Digest
	for _, l := range strings.Fields(layers) {
		ids = append(ids, oci.DigestOf([]byte(l)))
	}
	return short(string(catalog.ChainIDs(ids)[len(ids)-1]))
}

func TestImagesRemove(t *testing.T) {
	e := testEngine(t)
	ctx := t.Context()
	base := testImage{layers: "base", tags: "base:1 base:2"}.add(t, e)
	app := testImage{layers: "base app", tags: "app"}.add(t, e)

	remove := func(ref string, force bool, want string) {
		t.Helper()
		got, err := e.Images.Remove(ctx, ref, force, false)
		if err != nil || removedText(got) != want {
			t.Errorf("rmi %s: %s, %v\nwant %s", ref, removedText(got), err, want)
		}
	}
	refuse := func(ref string, force bool, want string) {
		t.Helper()
		got, err := e.Images.Remove(ctx, ref, force, false)
		if !errors.Is(err, errdefs.Conflict) || err.Error() != want || len(got) > 0 {
			t.Errorf("rmi %s: %s, %v\nwant %s", ref, removedText(got), err, want)
		}
	}
	remove("base:2", false, "-base:2")
	must(t, e.Images.Tag(ctx, "base:1", "other:x"))
	refuse(base, false, "conflict: unable to delete "+short(base)+" (must be forced) - image is referenced in multiple repositories")
	remove("other:x", false, "-other:x")

	stopped := testContainer(t, e, "base:1", "stopped", container.Exited)
	refuse("base:1", false, `conflict: unable to remove repository reference "base:1" (must force) - container `+ident.Short(stopped)+" is using its referenced image "+short(base))
	refuse(short(base), false, "conflict: unable to delete "+short(base)+" (must be forced) - image is being used by stopped container "+ident.Short(stopped))

	running := testContainer(t, e, "app", "running", container.Running)
	refuse(short(app), true, "conflict: unable to delete "+short(app)+" (cannot be forced) - image is being used by running container "+ident.Short(running))
	remove("app", true, "-app:latest") // the name can be forced away, the image stays
	if _, err := e.Images.Inspect(ctx, app); err != nil {
		t.Errorf("the image of a running container is gone: %v", err)
	}
	must(t, e.store.Remove(running))
	must(t, e.snapshots.Remove(running))
	remove(short(app), false, "x"+short(app)+" x"+chainShort("base app")) // the layer base stays: base:1 has it

	// Forced under a stopped container: its layers stay until it is gone.
	remove("base:1", true, "-base:1 x"+short(base))
	if below, err := e.snapshots.Lowers(stopped); err != nil || !exists(below[1]+"/base") {
		t.Errorf("a container lost its layers: %v", err)
	}
	must(t, e.store.Remove(stopped))
	removed, freed, err := e.Images.Prune(ctx, false, nil)
	if err != nil || removedText(removed) != "x"+chainShort("base") || freed != 4 {
		t.Errorf("prune: %s, %d, %v", removedText(removed), freed, err)
	}
	if entries, _ := os.ReadDir(e.snapshots.Dir()); len(entries) != 1 {
		t.Errorf("left in the store: %v", entries)
	}
	if _, err := e.Images.Remove(ctx, "base:1", true, false); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("again: %v", err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestImagesRemoveDigestsWithTheLastTag(t *testing.T) {
	e := testEngine(t)
	id := testImage{layers: "a", tags: "app:1 app:2"}.add(t, e)
	digest := "app@" + string(oci.DigestOf([]byte("manifest")))
	n, err := reference.Parse(digest)
	must(t, err)
	_, err = e.images.Tag(n, oci.Digest(id))
	must(t, err)
	got, err := e.Images.Remove(t.Context(), "app:1", false, false)
	if err != nil || removedText(got) != "-app:1" {
		t.Errorf("first tag: %s, %v", removedText(got), err)
	}
	got, err = e.Images.Remove(t.Context(), "app:2", false, false)
	if want := "-app:2 -" + digest + " x" + short(id) + " x" + chainShort("a"); err != nil || removedText(got) != want {
		t.Errorf("last tag: %s, %v\nwant %s", removedText(got), err, want)
	}
}

func TestImagesRemoveParents(t *testing.T) {
	for _, noPrune := range []bool{false, true} {
		e := testEngine(t)
		base := testImage{layers: "a", tags: "base"}.add(t, e)
		middle := testImage{layers: "a b", parent: base}.add(t, e)
		top := testImage{layers: "a b c", tags: "top", parent: middle}.add(t, e)
		_, err := e.Images.Remove(t.Context(), short(middle), true, noPrune)
		if want := "conflict: unable to delete " + short(middle) + " (cannot be forced) - image has dependent child images"; err == nil || err.Error() != want {
			t.Errorf("a parent: %v\nwant %s", err, want)
		}
		got, err := e.Images.Remove(t.Context(), "top", false, noPrune)
		want := "-top:latest x" + short(top) + " x" + chainShort("a b c")
		if !noPrune { // the unnamed parent goes, the named one stays
			want += " x" + short(middle) + " x" + chainShort("a b")
		}
		if err != nil || removedText(got) != want {
			t.Errorf("noPrune=%v: %s, %v\nwant %s", noPrune, removedText(got), err, want)
		}
	}
}

func TestImagesRemoveDuringPull(t *testing.T) {
	e := testEngine(t)
	id := testImage{layers: "a", tags: "app"}.add(t, e)
	lease, err := e.images.Lease()
	must(t, err)
	_, err = lease.UseImage(oci.Digest(id))
	must(t, err)
	if _, err := e.Images.Remove(t.Context(), "app", true, false); !errors.Is(err, errdefs.Conflict) {
		t.Errorf("an image under lease: %v", err)
	}
	if removed, _, err := e.Images.Prune(t.Context(), true, nil); err != nil || len(removed) != 0 {
		t.Errorf("prune under lease: %v, %v", removed, err)
	}
	must(t, lease.Close())
	if _, err := e.Images.Remove(t.Context(), "app", false, false); err != nil {
		t.Errorf("after the lease: %v", err)
	}
}

func TestImagesRemoveDamaged(t *testing.T) {
	e := testEngine(t)
	id := testImage{layers: "a", tags: "app"}.add(t, e)
	testImage{layers: "b", tags: "other"}.add(t, e)
	must(t, os.Truncate(e.images.Dir()+"/imagedb/content/sha256/"+id[7:], 0))
	if _, err := e.Images.List(t.Context(), "", false, nil); err != nil {
		t.Errorf("one damaged image hides the others: %v", err)
	}
	if _, err := e.Images.Remove(t.Context(), "app", false, false); err != nil {
		t.Errorf("a damaged image cannot be removed: %v", err)
	}
	if _, freed, err := e.Images.Prune(t.Context(), false, nil); err != nil || freed != 1 {
		t.Errorf("prune freed %d, %v; want the damaged image's layer", freed, err)
	}
}

func TestImagesPrune(t *testing.T) {
	setUp := func(t *testing.T) *Engine {
		e := testEngine(t)
		testImage{layers: "base old", age: 100 * time.Hour}.add(t, e)
		testImage{layers: "base new", labels: map[string]string{"keep": "yes"}}.add(t, e)
		testImage{layers: "base used", tags: "used"}.add(t, e)
		testImage{layers: "base free", tags: "free:1 free:2"}.add(t, e)
		testContainer(t, e, "used", "user", container.Exited)
		return e
	}
	for name, c := range map[string]struct {
		all   bool
		f     Filters
		left  string
		freed int64
	}{
		"dangling":     {left: "free:1 free:2 used:latest", freed: 6},
		"all":          {all: true, left: "used:latest", freed: 10},
		"by filter":    {f: Filters{"dangling": {"false"}}, left: "used:latest", freed: 10},
		"until":        {f: Filters{"until": {"2026-01-01T00:00:00Z"}}, left: "<none> free:1 free:2 used:latest", freed: 3},
		"label":        {f: Filters{"label": {"keep=yes"}}, left: "<none> free:1 free:2 used:latest", freed: 3},
		"without":      {f: Filters{"label!": {"keep"}}, left: "<none> free:1 free:2 used:latest", freed: 3},
		"all, old":     {all: true, f: Filters{"until": {"2026-01-01T00:00:00Z"}}, left: "<none> free:1 free:2 used:latest", freed: 3},
		"nothing left": {all: true, f: Filters{"label": {"absent"}}, left: "<none> <none> free:1 free:2 used:latest"},
	} {
		t.Run(name, func(t *testing.T) {
			e := setUp(t)
			_, freed, err := e.Images.Prune(context.Background(), c.all, c.f)
			must(t, err)
			list, err := e.Images.List(context.Background(), "", false, nil)
			must(t, err)
			got := strings.Fields(tagsOf(list))
			slices.Sort(got)
			if strings.Join(got, " ") != c.left || freed != c.freed {
				t.Errorf("left %v, freed %d; want %s, %d", got, freed, c.left, c.freed)
			}
		})
	}
	if _, _, err := setUp(t).Images.Prune(t.Context(), false, Filters{"before": {"used"}}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("an unknown filter: %v", err)
	}
}

// TestPruneDownloads removes what interrupted pulls left, the young only with all.
func TestPruneDownloads(t *testing.T) {
	e := testEngine(t)
	dir := e.images.PartialDir()
	must(t, os.MkdirAll(dir, 0o700))
	for name, age := range map[string]time.Duration{"young": time.Hour, "old": 25 * time.Hour} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte("1234"), 0o600))
		must(t, os.Chtimes(path, time.Now().Add(-age), time.Now().Add(-age)))
	}
	for _, c := range []struct {
		all  bool
		f    Filters
		left string
	}{
		{true, Filters{"label": {"a"}}, "old young"},
		{false, nil, "young"},
		{true, nil, ""},
	} {
		before, err := os.ReadDir(dir)
		must(t, err)
		_, freed, err := e.Images.Prune(t.Context(), c.all, c.f)
		must(t, err)
		after, err := os.ReadDir(dir)
		must(t, err)
		var left []string
		for _, f := range after {
			left = append(left, f.Name())
		}
		if strings.Join(left, " ") != c.left || freed != int64(4*(len(before)-len(after))) {
			t.Errorf("all %v, %v: left %q, freed %d", c.all, c.f, left, freed)
		}
	}
}
