package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

func TestResolve(t *testing.T) {
	s := Open(t.TempDir())
	a := image(t, s, "a", "busybox", "busybox:1", "quay.io/x/y:v1")
	b := image(t, s, "b", "busyboxx:latest", "localhost:5000/busybox:1")
	d := oci.DigestOf([]byte("manifest"))
	_, err := s.Tag(name(t, "busybox@"+string(d)), a.ID)
	must(t, err)
	// A tag that looks like the beginning of b's id: the name wins.
	_, err = s.Tag(name(t, b.ID.Hex()[:8]), a.ID)
	must(t, err)

	for ref, want := range map[string]*Image{
		"busybox":                           a,
		"busybox:latest":                    a,
		"busybox:1":                         a,
		"docker.io/library/busybox":         a,
		"index.docker.io/busybox:1":         a,
		"quay.io/x/y:v1":                    a,
		"busybox@" + string(d):              a,
		"busybox:whatever@" + string(d):     a,
		string(a.ID):                        a,
		a.ID.Hex():                          a,
		a.ID.Hex()[:12]:                     a,
		"sha256:" + a.ID.Hex()[:10]:         a,
		"busyboxx":                          b,
		"localhost:5000/busybox:1":          b,
		b.ID.Hex()[:12]:                     b,
		b.ID.Hex()[:8]:                      a,
		"busybox:2":                         nil,
		"busybo":                            nil,
		"x/y:v1":                            nil,
		"localhost:5000/busybox":            nil,
		"sha256:" + strings.Repeat("0", 64): nil,
		strings.Repeat("0", 64):             nil,
		"0000000":                           nil,
		"busybox@sha256:" + strings.Repeat("0", 64): nil,
	} {
		got, err := s.Resolve(ref)
		switch {
		case want == nil && !errors.Is(err, errdefs.NotFound):
			t.Errorf("Resolve(%s) = %v, want not found", ref, err)
		case want != nil && (err != nil || got.ID != want.ID || got.TopLayer != want.TopLayer):
			t.Errorf("Resolve(%s) = %v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "Busybox", "a b", "x:!", "../../etc/passwd"} {
		if _, err := s.Resolve(ref); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("Resolve(%q) = %v, want invalid argument", ref, err)
		}
	}
	// Edited by hand, the file still counts.
	b2, err := os.ReadFile(s.namesPath())
	must(t, err)
	var doc any
	must(t, json.Unmarshal(b2, &doc))
	pretty, err := json.MarshalIndent(doc, "", "  ")
	must(t, err)
	must(t, os.WriteFile(s.namesPath(), pretty, 0o600))
	if got, err := s.Resolve("quay.io/x/y:v1"); err != nil || got.ID != a.ID {
		t.Errorf("in a pretty-printed file: %v", err)
	}
}

func TestAmbiguousPrefix(t *testing.T) {
	s := Open(t.TempDir())
	image(t, s, "", "first:latest")
	byDigit := map[byte]int{}
	for i := range 20 { // more images than hex digits: two begin with the same
		byDigit[image(t, s, "", fmt.Sprint("i:", i)).ID.Hex()[0]]++
	}
	for digit, n := range byDigit {
		_, err := s.Resolve(string(digit))
		if n > 1 && !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%d images begin with %c: %v", n, digit, err)
		}
	}
}

func TestTagMoves(t *testing.T) {
	s := Open(t.TempDir())
	a, b := image(t, s, "a", "app"), image(t, s, "b", "other")
	old, err := s.Tag(name(t, "app"), b.ID)
	if err != nil || old != a.ID {
		t.Errorf("Tag = %s, %v; want the image that lost the name", old, err)
	}
	if old, err = s.Tag(name(t, "app"), b.ID); err != nil || old != "" {
		t.Errorf("the same again = %s, %v", old, err)
	}
	if _, err := s.Tag(name(t, "app"), diffID("absent")); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("Tag of a missing image: %v", err)
	}
	if removed, err := s.Untag(a.ID, "app:latest"); err != nil || removed != nil {
		t.Errorf("Untag took another image's name: %v, %v", removed, err)
	}
	removed, err := s.Untag(b.ID, "other:latest", "app:latest")
	if err != nil || !slices.Equal(removed, []string{"app:latest", "other:latest"}) {
		t.Errorf("Untag = %v, %v", removed, err)
	}
	if got, _ := os.ReadFile(s.namesPath()); string(got) != `{"Repositories":{}}` {
		t.Errorf("left: %s", got)
	}
}

// The entry is found wherever the borders of the pieces fall.
func TestScanNameAcrossPieces(t *testing.T) {
	id := diffID("x")
	for pad := 16<<10 - 120; pad < 16<<10+10; pad++ {
		text := strings.Repeat("x", pad) + `"app:1":"` + string(id) + `"`
		if got, ok, err := scanName(strings.NewReader(text), "app:1"); got != id || !ok || err != nil {
			t.Fatalf("at offset %d: %q, %v, %v", pad, got, ok, err)
		}
	}
}

func FuzzScanName(f *testing.F) {
	f.Add([]byte(`{"Repositories":{"a":{"a:1":"sha256:`+strings.Repeat("0", 64)+`"}}}`), "a:1")
	f.Add([]byte(`{"Repositories":{"a":{"a:1":"`), "a:1")
	f.Fuzz(func(t *testing.T, data []byte, ref string) {
		n, err := reference.Parse(ref)
		if err != nil {
			return
		}
		repo, key := key(n)
		// One byte at a time, after filling that puts the entry across a border.
		padded := io.MultiReader(strings.NewReader(strings.Repeat(" ", 16<<10-len(data)%200)), bytes.NewReader(data))
		id, ok, err := scanName(iotest.OneByteReader(padded), key)
		must(t, err)
		var doc struct{ Repositories Names }
		if json.Unmarshal(data, &doc) != nil || !isCompact(data) {
			return
		}
		canonical, err := json.Marshal(doc)
		if err != nil || string(canonical) != string(data) {
			return // not a file of ours
		}
		want, has := doc.Repositories[repo][key]
		if _, err := oci.ParseDigest(string(want)); err == nil && has && (!ok || id != want) {
			t.Errorf("scan found %q, %v; the document has %q", id, ok, want)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	s := Open(b.TempDir())
	img := image(b, s, "a b c d e", "target:latest")
	must(b, s.updateNames(func(n Names) bool {
		for i := range 1000 {
			repo := fmt.Sprintf("registry.example.com/team%d/application", i)
			n[repo] = map[string]oci.Digest{repo + ":latest": diffID(repo)}
		}
		return true
	}))
	b.ReportAllocs()
	for b.Loop() {
		hold, err := s.Hold()
		must(b, err)
		got, err := s.Resolve("target")
		if err != nil || got.ID != img.ID {
			b.Fatal(err)
		}
		must(b, hold.Release())
	}
}
