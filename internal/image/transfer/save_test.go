package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/image/imagetest"
	"berth/internal/oci"
	"berth/internal/reference"
)

// awkward is an image whose layers' tars are not what archive.Diff would write:
// another order, other forms, names twice, rubbish behind the end.
func awkward() *imagetest.Built {
	return imagetest.Image{
		Names: []string{"team/odd:1"},
		Layers: []imagetest.Layer{
			{{Name: "z", Body: "last first"}, {Name: "./a/b", Body: "no directory"}, imagetest.Dir("a/"), {Name: "z", Body: "again"}, imagetest.Symlink("l", "a"), {Name: "l/c", Body: "through"}},
			{{Name: "a/.wh.b"}, {Name: "a/.wh..wh..opq"}, {Name: "big", Body: strings.Repeat("x", 1<<20), Pax: map[string]string{"comment": "kept"}}},
			{},
		},
	}.Build()
}

// save returns what Save writes.
func save(t *testing.T, s *Store, refs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.Save(t.Context(), &b, SaveOptions{Images: refs}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entries reads a tar.
func entries(t *testing.T, b []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSaveIsExact: every layer leaves as the tar it came by, whichever way that was.
func TestSaveIsExact(t *testing.T) {
	for _, b := range []*imagetest.Built{three().Build(), awkward()} {
		for name, bring := range map[string]func(s *Store) error{
			"loaded": func(s *Store) error {
				_, err := loadBytes(t, s, imagetest.DockerArchive(b), LoadOptions{})
				return err
			},
			"loaded, old form": func(s *Store) error {
				_, err := loadBytes(t, s, imagetest.LegacyDockerArchive(b), LoadOptions{})
				return err
			},
			"loaded layout": func(s *Store) error {
				_, err := loadBytes(t, s, imagetest.OCIArchive(imagetest.OCIFiles(b)), LoadOptions{})
				return err
			},
			"pulled": func(s *Store) error {
				_, err := s.Pull(t.Context(), repository(b), named(t, b.Names[0]), PullOptions{})
				return err
			},
		} {
			t.Run(b.Names[0]+" "+name, func(t *testing.T) {
				s := store(t)
				if err := bring(s); err != nil {
					t.Fatal(err)
				}
				archive := save(t, s, b.Names[0])
				files := entries(t, archive)
				for i, d := range b.DiffIDs {
					if !bytes.Equal(files["blobs/sha256/"+d.Hex()], b.Tars[i]) {
						t.Errorf("layer %d is another tar", i)
					}
				}
				if !bytes.Equal(files["blobs/sha256/"+b.ID().Hex()], b.ConfigDoc) {
					t.Error("the config is another one")
				}
				if again := save(t, s, b.Names[0]); !bytes.Equal(again, archive) {
					t.Error("two archives of one image differ")
				}
				other := store(t)
				loaded, err := loadBytes(t, other, archive, LoadOptions{})
				if err != nil || len(loaded) != 1 || loaded[0].ID != b.ID() {
					t.Fatalf("loaded %+v, %v", loaded, err)
				}
				if again := save(t, other, b.Names[0]); !bytes.Equal(again, archive) {
					t.Error("the archive of the loaded image differs")
				}
				// As an OCI layout it is the same image.
				delete(files, "manifest.json")
				dir := t.TempDir()
				for name := range files {
					if strings.HasSuffix(name, "/") {
						delete(files, name)
					}
				}
				if err := imagetest.WriteFiles(dir, files); err != nil {
					t.Fatal(err)
				}
				layout := store(t)
				if loaded, err := layout.LoadDir(t.Context(), dir, LoadOptions{}); err != nil || len(loaded) != 1 || loaded[0].ID != b.ID() || loaded[0].Name != named(t, b.Names[0]) {
					t.Errorf("loaded the layout: %+v, %v", loaded, err)
				}
			})
		}
	}
}

// TestSaveImported goes through import: there the tar is made by others.
func TestSaveImported(t *testing.T) {
	s := store(t)
	stream := awkward().Tars[0]
	id, err := s.Import(t.Context(), bytes.NewReader(pack(t, stream, "gzip")), ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := entries(t, save(t, s, id.Hex()[:12]))["blobs/sha256/"+oci.DigestOf(stream).Hex()]; !bytes.Equal(got, stream) {
		t.Error("the layer is another tar")
	}
}

func TestSaveNames(t *testing.T) {
	one, two := three().Build(), awkward()
	s := store(t)
	if _, err := loadBytes(t, s, imagetest.DockerArchive(one, two), LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]oci.Digest{"team/app:2": one.ID(), "team/app:latest": two.ID()} {
		if _, err := s.images.Tag(named(t, name), id); err != nil {
			t.Fatal(err)
		}
	}
	for refs, want := range map[string]string{
		"team/app:1":                        "team/app:1",
		"team/app":                          "team/app:1 team/app:2 team/app:latest",
		"team/app:1 team/odd:1":             "team/app:1 team/odd:1",
		"team/app:1 team/app:1":             "team/app:1",
		"team/app:2 " + string(one.ID()):    "team/app:2",
		one.ID().Hex()[:12]:                 "",
		two.ID().Hex()[:12] + " team/odd:1": "team/odd:1",
	} {
		other := store(t)
		loaded, err := loadBytes(t, other, save(t, s, strings.Fields(refs)...), LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, l := range loaded {
			if l.Name != (reference.Named{}) {
				names = append(names, l.Name.Familiar())
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != want {
			t.Errorf("save %s: names %q, want %q", refs, got, want)
		}
	}
	var out bytes.Buffer
	for _, refs := range [][]string{{"team/app:1", "none"}, {"none:1"}, {"a b"}, {""}} {
		if _, err := s.Save(t.Context(), &out, SaveOptions{Images: refs}); err == nil || out.Len() > 0 {
			t.Errorf("save %q: %v, %d bytes written", refs, err, out.Len())
		}
	}
	want, err := oci.ParsePlatform("linux/s390x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Save(t.Context(), &out, SaveOptions{Images: []string{"team/app:1"}, Platform: &want}); errdefs.KindOf(err) != errdefs.NotFound || out.Len() > 0 {
		t.Errorf("another platform: %v", err)
	}
}

// A layer without a tar record, made here, is written by its files.
func TestSaveWithoutRecord(t *testing.T) {
	b := three().Build()
	s := store(t)
	if _, err := loadBytes(t, s, imagetest.DockerArchive(b), LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, chain := range mustImage(t, s, named(t, "team/app:1")).Chain() {
		if err := os.Remove(s.images.TarRecord(chain)); err != nil {
			t.Fatal(err)
		}
	}
	// What is written instead has another digest, and that is found out.
	if err := saveErr(t, s, "team/app:1"); errdefs.KindOf(err) != errdefs.Conflict || errdefs.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}
