package export

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"berth/internal/build/plan"
	"berth/internal/build/solve"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
)

// changing is a runner whose steps write, delete and replace.
type changing struct{ *world }

func (changing) Run(_ context.Context, r *solve.RunRequest) error {
	at := rootpath.ProcPath(int(r.Root.Fd())) + "/" + r.Step.Args[1]
	switch r.Step.Args[0] {
	case "write":
		return os.WriteFile(at, []byte("written"), 0o644)
	case "directory":
		return os.MkdirAll(at, 0o755)
	}
	return os.RemoveAll(at)
}

// Squashed is one layer with what is left of the steps' changes, and shows the
// same files.
func TestSquash(t *testing.T) {
	w := newWorld(t)
	p := w.plan(nil)
	st := p.Stages[0]
	st.Steps = nil
	for _, args := range [][]string{
		{"write", "big"}, {"remove", "big"}, {"remove", "z"}, {"remove", "etc"}, {"directory", "etc/new"}, {"write", "etc/new/file"}, {"write", "kept"},
	} {
		st.Steps = append(st.Steps, plan.Step{Text: "RUN " + strings.Join(args, " "), Op: &plan.Run{Args: args}, History: oci.History{CreatedBy: strings.Join(args, " ")}})
	}
	r := w.solve(p, func(o *solve.Options) { o.Runner = changing{w} })
	before := w.files(r)
	for range 2 { // the second is found
		one, err := Squash(t.Context(), r, w.root, nil)
		must(t, err)
		if len(one.Layers) != 1 || len(r.Layers) != 7 {
			t.Fatalf("%d layers of %d", len(one.Layers), len(r.Layers))
		}
		if got := w.files(one); got != before || got != "etc/ etc/new/ etc/new/file kept" {
			t.Errorf("files %s, before %s", got, before)
		}
		var tar bytes.Buffer
		must(t, openStores(w.root).diff(t.Context(), &tar, one.Layers[0].ID, nil))
		if got := tarNames(t, &tar); got != "etc/ etc/.wh..wh..opq etc/new/ etc/new/file kept .wh.z" {
			t.Errorf("the layer holds %s", got)
		}
		img := w.image(one, ImageOptions{})
		if n := len(img.Config.RootFS.DiffIDs); n != 3 {
			t.Errorf("the image has %d layers", n)
		}
		for i, h := range img.Config.History {
			if base, last := i < 2, i == len(img.Config.History)-1; h.EmptyLayer == (base || last) || last != (h.Comment == "squashed 7 layers") {
				t.Errorf("line %d of the history: %+v", i, h)
			}
		}
	}
	if items, err := os.ReadDir(w.root + "/build/cache"); err != nil || len(items) != 8 {
		t.Errorf("%d records, %v", len(items), err)
	}
}

func (w *world) files(r *solve.Result) string {
	w.Helper()
	var b bytes.Buffer
	must(w, Tar(w.Context(), &b, []*solve.Result{r}, FilesOptions{DataRoot: w.root}))
	return tarNames(w, &b)
}
