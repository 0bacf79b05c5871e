package snapshot

import (
	"context"
	"os"
	"testing"
)

func TestSetParent(t *testing.T) {
	s := Open(t.TempDir())
	base := layer(t, s, "", func(dir string) { must(t, os.Chmod(dir, 0o711)) })
	for keep, want := range map[bool]os.FileMode{false: 0o711, true: 0o750} {
		d, err := s.Begin("")
		must(t, err)
		must(t, os.Chmod(d.Dir(), 0o750))
		must(t, d.SetParent(base, keep))
		if err := d.SetParent(base, keep); err == nil {
			t.Error("a second parent was taken")
		}
		id, err := d.Commit(context.Background())
		must(t, err)
		below, err := s.Below(id)
		must(t, err)
		if len(below) != 1 || below[0] != base {
			t.Errorf("lies on %q", below)
		}
		fi, err := os.Stat(s.Diff(id))
		must(t, err)
		if fi.Mode().Perm() != want {
			t.Errorf("keepRoot %v: root has mode %v", keep, fi.Mode())
		}
	}
	d, err := s.Begin("")
	must(t, err)
	if err := d.SetParent("0123", false); err == nil {
		t.Error("a parent that does not exist was taken")
	}
	must(t, d.Discard())
}
