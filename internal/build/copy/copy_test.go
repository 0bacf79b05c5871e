package copy

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/linux/rootpath"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPlain(t *testing.T) {
	ctx, dst := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(ctx, "a/b"), 0o750))
	must(t, os.WriteFile(filepath.Join(ctx, "a/b/f"), []byte("x"), 0o640))
	must(t, os.Symlink("b/f", filepath.Join(ctx, "a/l")))
	tree, err := source.Dir(ctx)
	must(t, err)
	defer tree.Close()
	root, err := rootpath.OpenRoot(dst)
	must(t, err)
	defer root.Close()
	c := &plan.Copy{Paths: []string{"/a"}, Dest: "/x/y"}
	d, err := Digest(context.Background(), Sources{Main: tree}, c, nil)
	must(t, err)
	must(t, Into(context.Background(), Sources{Main: tree}, c, root, Options{Expect: d}))
	b, err := os.ReadFile(filepath.Join(dst, "x/y/l"))
	must(t, err)
	if string(b) != "x" {
		t.Error(string(b))
	}
}
