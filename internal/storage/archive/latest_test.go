package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// No file of a layer is later than the latest time; earlier ones keep theirs.
func TestLatest(t *testing.T) {
	dir := t.TempDir()
	latest := time.Unix(1700000000, 0)
	for name, at := range map[string]time.Time{"early": latest.Add(-time.Hour), "late": latest.Add(time.Hour), "just": latest.Add(time.Millisecond)} {
		if err := os.WriteFile(dir+"/"+name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir+"/"+name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var diff, pack bytes.Buffer
	if _, err := Diff(t.Context(), &diff, f, DiffOptions{Latest: &latest}); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(t.Context(), &pack, f, "/", PackOptions{Latest: &latest, Precise: true}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*bytes.Buffer{&diff, &pack} {
		for r := tar.NewReader(b); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			want := latest
			if h.Name == "early" {
				want = latest.Add(-time.Hour)
			}
			if !h.ModTime.Equal(want) {
				t.Errorf("%s is of %v", h.Name, h.ModTime)
			}
		}
	}
}
