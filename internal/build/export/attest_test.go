package export

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/solve"
	"berth/internal/errdefs"
	"berth/internal/image/attestation"
	"berth/internal/image/catalog"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/reference"
)

func said() []attestation.Predicate {
	return []attestation.Predicate{
		{Type: attestation.Provenance, Content: json.RawMessage(`{"buildDefinition":{}}`)},
		{Type: attestation.SPDX, Content: json.RawMessage(`{"spdxVersion":"SPDX-2.3"}`)},
	}
}

func saying(context.Context, *solve.Result) ([]attestation.Predicate, error) { return said(), nil }

func TestAttestStore(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.plan(nil))
	plain := w.image(r, ImageOptions{})
	if have, err := catalog.Open(w.root).Attestations(plain.ID); err != nil || have != nil {
		t.Errorf("nothing was said: %v, %v", have, err)
	}
	img := w.image(r, ImageOptions{Attest: saying})
	if have, err := catalog.Open(w.root).Attestations(img.ID); err != nil || !reflect.DeepEqual(have, said()) || img.ID != plain.ID {
		t.Errorf("%v, %v", have, err)
	}
}

func TestAttestArchive(t *testing.T) {
	w := newWorld(t)
	r := w.solve(w.plan(nil))
	var b bytes.Buffer
	written, err := Archive(t.Context(), &b, []*solve.Result{r}, ArchiveOptions{DataRoot: w.root, Names: []reference.Named{named(t, "app:1")}, Attest: saying})
	must(t, err)
	files := untar(t, bytes.NewReader(b.Bytes()))
	blob := func(d oci.Digest) []byte { return files["blobs/sha256/"+d.Hex()] }
	index, err := oci.ParseIndex(blob(written.Descriptor.Digest), written.Descriptor.MediaType)
	must(t, err)
	if len(index.Manifests) != 2 || !strings.Contains(string(files["index.json"]), string(written.Descriptor.Digest)) {
		t.Fatalf("index %+v", index)
	}
	image, about := index.Manifests[0], index.Manifests[1]
	if about.Platform.OS != "unknown" || about.Annotations["vnd.docker.reference.digest"] != string(image.Digest) || image.Platform.OS != "linux" {
		t.Errorf("about %+v", about)
	}
	m, err := oci.ParseManifest(blob(about.Digest), about.MediaType)
	must(t, err)
	for i, l := range m.Layers {
		var s attestation.Statement
		must(t, json.Unmarshal(blob(l.Digest), &s))
		if s.PredicateType != said()[i].Type || string(s.Predicate) != string(said()[i].Content) || !strings.HasPrefix(s.Subject[0].Name, "pkg:docker/app@1?platform=linux%2F") || s.Subject[0].Digest["sha256"] != image.Digest.Hex() {
			t.Errorf("statement %+v", s)
		}
	}
	// Who loads the archive gets the image, and not what is said about it.
	loaded, err := transfer.New(t.TempDir(), 0).Load(t.Context(), bytes.NewReader(b.Bytes()), transfer.LoadOptions{})
	if err != nil || len(loaded) != 1 || loaded[0].ID != written.Configs[0] {
		t.Errorf("loaded %+v, %v; want %v", loaded, err, written.Configs)
	}
	if _, err := Archive(t.Context(), io.Discard, []*solve.Result{r}, ArchiveOptions{DataRoot: w.root, Docker: true, Attest: saying}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("Docker's format: %v", err)
	}
}

func TestAttestFiles(t *testing.T) {
	w := newWorld(t)
	epoch := time.Unix(1e9, 0)
	r := w.solve(w.plan(&epoch))
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, []byte("mine"), 0o644))
	must(t, os.Symlink(outside, dir+"/provenance.json")) // of somebody who guessed the name
	o := FilesOptions{DataRoot: w.root, Attest: saying}
	must(t, Local(t.Context(), dir, []*solve.Result{r}, o))
	if b, _ := os.ReadFile(outside); string(b) != "mine" {
		t.Errorf("a link in the directory was followed: %s", b)
	}
	var s attestation.Statement
	b, err := os.ReadFile(dir + "/provenance.json")
	must(t, err)
	must(t, json.Unmarshal(b, &s))
	want := map[string]string{"app": "program", "etc/motd": "hi", "made": "x", "z": "last"}
	for _, subject := range s.Subject {
		if text, ok := want[subject.Name]; !ok || subject.Digest["sha256"] != oci.DigestOf([]byte(text)).Hex() {
			t.Errorf("subject %+v", subject)
		}
		delete(want, subject.Name)
	}
	if len(want) > 0 {
		t.Errorf("nothing is said about %v", want)
	}
	var st unix.Stat_t
	must(t, unix.Stat(dir+"/sbom.spdx.json", &st))
	if st.Mode&0o777 != 0o600 || st.Mtim.Sec != 1e9 {
		t.Errorf("mode %o, time %d", st.Mode, st.Mtim.Sec)
	}

	var archive bytes.Buffer
	o.Split, o.Prefix = true, "build-"
	must(t, Tar(t.Context(), &archive, []*solve.Result{r}, o))
	top := platformDir(r.Plan.Platform)
	must(t, json.Unmarshal(untar(t, &archive)[top+"/build-sbom.spdx.json"], &s))
	if s.PredicateType != attestation.SPDX || s.Subject[0].Name != "app" {
		t.Errorf("%+v", s)
	}

	must(t, os.WriteFile(w.context+"/app", []byte("other"), 0o644))
	p := w.plan(nil)
	p.Stages[0].Steps[0].Op = &plan.Run{Args: []string{"provenance.json", "x"}}
	if err := Local(t.Context(), t.TempDir(), []*solve.Result{w.solve(p)}, FilesOptions{DataRoot: w.root, Attest: saying}); !errors.Is(err, errdefs.AlreadyExists) {
		t.Errorf("a file of the result's own: %v", err)
	}
}

// TestDigestFiles: a second name of a file has the digest of the first.
func TestDigestFiles(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, w.WriteHeader(&tar.Header{Name: "d/a", Typeflag: tar.TypeReg, Size: 1}))
	_, err := w.Write([]byte("x"))
	must(t, err)
	must(t, w.WriteHeader(&tar.Header{Name: "d/b", Typeflag: tar.TypeLink, Linkname: "d/a"}))
	must(t, w.WriteHeader(&tar.Header{Name: "d/c", Typeflag: tar.TypeSymlink, Linkname: "d/a"}))
	must(t, w.Close())
	x := oci.DigestOf([]byte("x"))
	got, err := digestFiles(&b, "d")
	if want := []attestation.Subject{attestation.NewSubject("a", x), attestation.NewSubject("b", x)}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// untar reads the files of an archive.
func untar(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		files[strings.TrimPrefix(h.Name, "./")], err = io.ReadAll(tr)
		must(t, err)
	}
}
