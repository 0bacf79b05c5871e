package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/image/attestation"
	"berth/internal/image/catalog"
	"berth/internal/image/imagetest"
	"berth/internal/image/packing"
	"berth/internal/oci"
	"berth/internal/reference"
)

// shelf is a repository to push to. What it has can be pulled again.
type shelf struct {
	mu        sync.Mutex
	blobs     map[oci.Digest][]byte
	documents map[string]document // by tag and by digest
	uploads   []oci.Digest
	mounts    []string                         // repositories that blobs were mounted from
	elsewhere map[string]map[oci.Digest][]byte // repositories of the same registry
	refuse    error
}

func newShelf() *shelf {
	return &shelf{blobs: map[oci.Digest][]byte{}, documents: map[string]document{}, elsewhere: map[string]map[oci.Digest][]byte{}}
}

func (s *shelf) HasBlob(_ context.Context, d oci.Descriptor) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.blobs[d.Digest]
	return ok, s.refuse
}

func (s *shelf) Mount(_ context.Context, d oci.Descriptor, from reference.Named) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.elsewhere[from.Path()][d.Digest]
	if ok {
		s.blobs[d.Digest] = b
		s.mounts = append(s.mounts, from.Path())
	}
	return ok, nil
}

func (s *shelf) Upload(_ context.Context, d oci.Descriptor, content io.ReaderAt, on func(int64)) error {
	b, err := io.ReadAll(io.NewSectionReader(content, 0, d.Size+1))
	if err != nil || oci.DigestOf(b) != d.Digest || int64(len(b)) != d.Size {
		return errors.Join(errors.New("other bytes than announced"), err)
	}
	on(d.Size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[d.Digest] = b
	s.uploads = append(s.uploads, d.Digest)
	return nil
}

func (s *shelf) PutManifest(_ context.Context, ref, mediaType string, doc []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	parsed, err := oci.ParseDocument(doc, mediaType)
	if err != nil {
		return err
	}
	if m := parsed.Manifest; m != nil {
		for _, d := range append(m.Layers, m.Config) {
			if b, ok := s.blobs[d.Digest]; !ok || int64(len(b)) != d.Size {
				return errors.New("blob unknown to registry: " + string(d.Digest))
			}
		}
	} else {
		for _, d := range parsed.Index.Manifests {
			if _, ok := s.documents[string(d.Digest)]; !ok {
				return errors.New("manifest unknown: " + string(d.Digest))
			}
		}
	}
	d := newDocument(mediaType, bytes.Clone(doc))
	s.documents[ref], s.documents[string(d.Digest)] = d, d
	return nil
}

// take returns the layers that were sent since the last call.
func (s *shelf) take() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = len(s.uploads)
	s.uploads = nil
	return n
}

// source is the shelf as a place to pull from.
func (s *shelf) source() *memory {
	m := repository()
	maps.Copy(m.content, s.blobs)
	for ref, d := range s.documents {
		if ref == string(d.Digest) {
			m.content[d.Digest], m.types[d.Digest] = d.raw, d.MediaType
		} else {
			m.tags[ref] = d.Digest
		}
	}
	return m
}

func TestPushAndPullBack(t *testing.T) {
	b := three().Build()
	s, shelf := store(t), newShelf()
	if _, err := loadBytes(t, s, imagetest.DockerArchive(b), LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	name := named(t, "reg.example/team/app:1")
	if _, err := s.images.Tag(name, b.ID()); err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	first, err := s.Push(t.Context(), shelf, name, PushOptions{Report: rec.report})
	if err != nil {
		t.Fatal(err)
	}
	if n := shelf.take(); n != len(b.Tars)+1 {
		t.Errorf("%d blobs were sent, the image has %d layers and a config", n, len(b.Tars))
	}
	last := rec.of(b.DiffIDs[0].Hex()[:12])
	if len(last) == 0 || last[0] != Preparing || last[len(last)-1] != LayerPushed {
		t.Errorf("told %v", last)
	}
	other := store(t)
	got, err := other.Pull(t.Context(), shelf.source(), name, PullOptions{})
	if err != nil || got.ID != b.ID() || got.Digest != first.Descriptor.Digest {
		t.Errorf("pulled %+v, %v; pushed %+v", got, err, first)
	}
	checkImage(t, other, name.Familiar(), b)
	// Again, from here and from there: nothing is sent, and the manifest is the same.
	for _, from := range []*Store{s, other} {
		again, err := from.Push(t.Context(), shelf, name, PushOptions{})
		if n := shelf.take(); err != nil || n != 0 || again.Descriptor.Digest != first.Descriptor.Digest {
			t.Errorf("%d blobs were sent again, %+v, %v", n, again, err)
		}
	}
	// Without memory of where layers are, packing gives the same digests.
	for _, chain := range mustImage(t, s, name).Chain() {
		if err := os.Remove(s.images.LayerDir(chain) + "/blobs.json"); err != nil {
			t.Fatal(err)
		}
	}
	again, err := s.Push(t.Context(), shelf, name, PushOptions{})
	if n := shelf.take(); err != nil || n != 0 || again.Descriptor.Digest != first.Descriptor.Digest {
		t.Errorf("%d blobs were sent again, %+v, %v", n, again, err)
	}
	if id, err := s.images.Lookup("reg.example/team/app@" + string(first.Descriptor.Digest)); err != nil || id != b.ID() {
		t.Errorf("the digest names %s, %v", id, err)
	}
}

// TestPushPulled: an image that was pulled leaves as it came.
func TestPushPulled(t *testing.T) {
	for name, compression := range map[string]imagetest.Compression{"gzip": imagetest.Gzip, "zstd": imagetest.Zstd, "plain": imagetest.Plain} {
		for _, docker := range []bool{false, true} {
			if docker && compression != imagetest.Gzip {
				continue
			}
			i := three()
			i.Compression, i.Docker = compression, docker
			b := i.Build()
			t.Run(name, func(t *testing.T) {
				s := store(t)
				from, to := named(t, "reg.example/base/app:1"), named(t, "reg.example/team/app:1")
				if _, err := s.Pull(t.Context(), repository(b), from, PullOptions{}); err != nil {
					t.Fatal(err)
				}
				if _, err := s.images.Tag(to, b.ID()); err != nil {
					t.Fatal(err)
				}
				near := newShelf()
				near.elsewhere["base/app"] = b.Content()
				got, err := s.Push(t.Context(), near, to, PushOptions{})
				if err != nil || got.Descriptor.Digest != oci.DigestOf(b.ManifestDoc) {
					t.Errorf("pushed %+v, %v; pulled %s", got, err, oci.DigestOf(b.ManifestDoc))
				}
				if n := near.take(); n != 1 || len(near.mounts) != len(b.Tars) {
					t.Errorf("%d blobs were sent, %d mounted", n, len(near.mounts))
				}
				// A registry that has them not gets them packed anew.
				far := newShelf()
				got, err = s.Push(t.Context(), far, to, PushOptions{})
				if err != nil || far.take() != len(b.Tars)+1 {
					t.Errorf("pushed %+v, %v", got, err)
				}
				other := store(t)
				if p, err := other.Pull(t.Context(), far.source(), to, PullOptions{}); err != nil || p.ID != b.ID() {
					t.Errorf("pulled back %+v, %v", p, err)
				}
			})
		}
	}
}

func TestPushPacking(t *testing.T) {
	b := three().Build()
	s, shelf := store(t), newShelf()
	name := named(t, "reg.example/team/app:1")
	if _, err := s.Pull(t.Context(), repository(b), name, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	maps.Copy(shelf.blobs, b.Content())
	got, err := s.Push(t.Context(), shelf, name, PushOptions{Packing: packing.Options{Compression: packing.Zstd}, Repack: true})
	if err != nil {
		t.Fatal(err)
	}
	m, err := oci.ParseManifest(shelf.documents["1"].raw, got.Descriptor.MediaType)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Layers {
		if d.MediaType != oci.MediaTypeLayerZstd || !isZstd(shelf.blobs[d.Digest]) {
			t.Errorf("a layer is %s", d.MediaType)
		}
	}
}

// TestPushAttested pushes an image with what its builder says of it.
func TestPushAttested(t *testing.T) {
	b := three().Build()
	s, shelf := store(t), newShelf()
	if _, err := loadBytes(t, s, imagetest.DockerArchive(b), LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	name := named(t, "reg.example/team/app:1")
	if _, err := s.images.Tag(name, b.ID()); err != nil {
		t.Fatal(err)
	}
	lease, err := s.images.Lease()
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	said := []attestation.Predicate{{Type: attestation.Provenance, Content: json.RawMessage(`{"buildDefinition":{}}`)}}
	if err := lease.Attest(b.ID(), said); err != nil {
		t.Fatal(err)
	}
	got, err := s.Push(t.Context(), shelf, name, PushOptions{})
	if err != nil || !got.Descriptor.IsIndex() {
		t.Fatalf("pushed %+v, %v", got, err)
	}
	x, err := oci.ParseIndex(shelf.documents["1"].raw, "")
	if err != nil || len(x.Manifests) != 2 || x.Manifests[1].Annotations["vnd.docker.reference.digest"] != string(x.Manifests[0].Digest) {
		t.Fatalf("%+v, %v", x, err)
	}
	about, err := oci.ParseManifest(shelf.documents[string(x.Manifests[1].Digest)].raw, "")
	if err != nil || !strings.Contains(string(shelf.blobs[about.Layers[0].Digest]), x.Manifests[0].Digest.Hex()) {
		t.Errorf("the statement is not about the image: %v", err)
	}
	if p, err := store(t).Pull(t.Context(), shelf.source(), name, PullOptions{}); err != nil || p.ID != b.ID() {
		t.Errorf("pulled back %+v, %v", p, err)
	}
}

func TestPushRefuses(t *testing.T) {
	b := three().Build()
	s := store(t)
	name := named(t, "reg.example/team/app:1")
	if _, err := s.Pull(t.Context(), repository(b), name, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Push(t.Context(), newShelf(), named(t, "reg.example/team/none:1"), PushOptions{}); errdefs.KindOf(err) != errdefs.NotFound || !strings.Contains(err.Error(), "An image does not exist locally with the tag: reg.example/team/none") {
		t.Errorf("no such image: %v", err)
	}
	for _, p := range []string{"linux/s390x", "windows/amd64"} {
		want, err := oci.ParsePlatform(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Push(t.Context(), newShelf(), name, PushOptions{Platform: &want}); errdefs.KindOf(err) != errdefs.NotFound {
			t.Errorf("%s: %v", p, err)
		}
	}
	// Who may not push is told before anything is packed.
	denied := newShelf()
	denied.refuse = errdefs.New(errdefs.Forbidden, "denied")
	if _, err := s.Push(t.Context(), denied, name, PushOptions{}); !errors.Is(err, errdefs.Forbidden) || len(denied.uploads) > 0 {
		t.Errorf("denied: %v", err)
	}
	// A layer that is not any more what it was is not pushed.
	chain := mustImage(t, s, name).Chain()
	l, err := s.images.Layer(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.layers.Diff(l.Snapshot)+"/etc/a", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	shelf := newShelf()
	if _, err := s.Push(t.Context(), shelf, name, PushOptions{}); errdefs.KindOf(err) != errdefs.Conflict || errdefs.HintOf(err) == "" || len(shelf.documents) > 0 {
		t.Errorf("a changed layer: %v", err)
	}
	if err := saveErr(t, s, name.Familiar()); errdefs.KindOf(err) != errdefs.Conflict {
		t.Errorf("a changed layer was saved: %v", err)
	}
}

func mustImage(t *testing.T, s *Store, name reference.Named) *catalog.Image {
	t.Helper()
	img, err := s.images.Resolve(name.Familiar())
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func saveErr(t *testing.T, s *Store, ref string) error {
	t.Helper()
	_, err := s.Save(t.Context(), io.Discard, SaveOptions{Images: []string{ref}})
	return err
}
