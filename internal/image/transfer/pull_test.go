package transfer

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/imagetest"
	"berth/internal/oci"
)

func TestPull(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*imagetest.Image)
	}{
		{"OCI gzip", func(*imagetest.Image) {}},
		{"Docker gzip", func(i *imagetest.Image) { i.Docker = true }},
		{"zstd", func(i *imagetest.Image) { i.Compression = imagetest.Zstd }},
		{"plain", func(i *imagetest.Image) { i.Compression = imagetest.Plain }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, img := store(t), three()
			c.make(&img)
			b := img.Build()
			src := repository(b)
			var r recorder
			got, err := s.Pull(t.Context(), src, named(t, "team/app:1"), PullOptions{Report: r.report})
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != b.ID() || !got.Newer || got.Digest != oci.DigestOf(b.ManifestDoc) {
				t.Fatalf("%+v", got)
			}
			checkImage(t, s, "team/app:1", b)
			checkImage(t, s, "team/app@"+string(got.Digest), b)
			want := []Status{Pulling, Downloading, Verifying, Downloaded, Extracting, Complete}
			for _, d := range b.Manifest.Layers {
				have := r.of(d.Digest.Hex()[:12])
				have = slices.DeleteFunc(have, func(s Status) bool { return s == Extracting && slices.Contains(have, Complete) })
				if !slices.Equal(have, slices.DeleteFunc(slices.Clone(want), func(s Status) bool { return s == Extracting })) {
					t.Errorf("layer %s: %q", d.Digest.Hex()[:12], have)
				}
			}
			// /tmp keeps its mode though the topmost layer does not describe it.
			if m := modeOf(t, s, catalog.ChainIDs(b.DiffIDs)[2], "tmp"); m != 0o1777 {
				t.Errorf("/tmp has mode %o", m)
			}

			src.asked, src.fetched = 0, map[oci.Digest]int64{}
			got, err = s.Pull(t.Context(), src, named(t, "team/app:1"), PullOptions{})
			if err != nil || got.Newer || got.ID != b.ID() {
				t.Fatalf("second pull: %+v, %v", got, err)
			}
			if src.asked != 1 || len(src.fetched) != 0 {
				t.Errorf("the second pull asked for %d manifests and fetched %v", src.asked, src.fetched)
			}
		})
	}
}

func TestPullSharesLayers(t *testing.T) {
	s, one, two := store(t), three(), three()
	two.Layers = append(two.Layers[:2:2], imagetest.Layer{{Name: "other", Body: "other"}})
	a, b := one.Build(), two.Build()
	src := repository(a, b)
	if _, err := s.Pull(t.Context(), src, named(t, "team/app:1"), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	src.fetched = map[oci.Digest]int64{}
	var r recorder
	if _, err := s.Pull(t.Context(), src, named(t, "team/app:2"), PullOptions{Report: r.report}); err != nil {
		t.Fatal(err)
	}
	checkImage(t, s, "team/app:2", b)
	if len(src.fetched) != 2 { // the config and the new layer
		t.Errorf("fetched %v", src.fetched)
	}
	if got := r.of(b.Manifest.Layers[0].Digest.Hex()[:12]); !slices.Equal(got, []Status{AlreadyExists}) {
		t.Errorf("shared layer: %q", got)
	}
}

// TestPullRepeatedLayer has one blob twice in an image, as empty layers are.
func TestPullRepeatedLayer(t *testing.T) {
	s, img := store(t), three()
	img.Layers = append(img.Layers, img.Layers[1], img.Layers[1])
	b := img.Build()
	if _, err := s.Pull(t.Context(), repository(b), named(t, "a:1"), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	checkImage(t, s, "a:1", b)
}

func TestPullPlatform(t *testing.T) {
	host, other := three(), three()
	other.Platform = oci.Platform{OS: "linux", Architecture: "s390x"}
	a, b := host.Build(), other.Build()
	for _, docker := range []bool{false, true} {
		s, src := store(t), repository(a, b)
		x := imagetest.Index(docker, b, a)
		src.tag("multi", oci.MediaTypeIndex, x)
		if docker {
			src.types[oci.DigestOf(x)] = oci.MediaTypeDockerIndex
		}
		ref := named(t, "team/app:multi")
		for _, c := range []struct {
			platform string
			want     *imagetest.Built
		}{{"", a}, {"linux/s390x", b}, {"", a}} {
			o := PullOptions{}
			if c.platform != "" {
				p, err := oci.ParsePlatform(c.platform)
				if err != nil {
					t.Fatal(err)
				}
				o.Platform = &p
			}
			got, err := s.Pull(t.Context(), src, ref, o)
			if err != nil || got.ID != c.want.ID() && c.platform != "" || got.Digest != oci.DigestOf(x) {
				t.Fatalf("%q: %+v, %v", c.platform, got, err)
			}
		}
		p := oci.Platform{OS: "linux", Architecture: "mips"}
		if _, err := s.Pull(t.Context(), src, ref, PullOptions{Platform: &p}); err == nil || err.Error() != "no matching manifest for linux/mips in the manifest list entries" || errdefs.HintOf(err) == "" {
			t.Errorf("%v", err)
		}
		if _, err := s.Pull(t.Context(), src, named(t, "team/app:1"), PullOptions{Platform: &p}); err == nil || !strings.Contains(err.Error(), "does not match the specified platform (linux/mips)") {
			t.Errorf("%v", err)
		}
	}
}

// TestPullRefuses gives wrong documents and wrong bytes.
func TestPullRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		spoil   func(b *imagetest.Built, m *memory)
		wantErr string
	}{
		{"other bytes in a layer", func(b *imagetest.Built, m *memory) {
			d := b.Manifest.Layers[1].Digest
			m.content[d] = imagetest.Gzip.Compress(imagetest.Layer{{Name: "evil"}}.Tar())
			m.content[d] = append(m.content[d], make([]byte, int(b.Manifest.Layers[1].Size)-len(m.content[d]))...)
		}, ""},
		{"a layer with one bit changed", func(b *imagetest.Built, m *memory) {
			d := b.Manifest.Layers[2].Digest
			m.content[d] = slices.Clone(m.content[d])
			m.content[d][len(m.content[d])-1] ^= 1
		}, ""},
		{"a layer of another diff id", func(b *imagetest.Built, m *memory) {
			blob := imagetest.Gzip.Compress(imagetest.Layer{{Name: "evil"}}.Tar())
			m.content[oci.DigestOf(blob)] = blob
			b.Manifest.Layers[0] = imagetest.Descriptor(oci.MediaTypeLayerGzip, blob)
			m.tag("1", oci.MediaTypeManifest, imagetest.JSON(b.Manifest))
		}, "the image's config says"},
		{"other bytes in the config", func(b *imagetest.Built, m *memory) {
			m.content[b.ID()] = append(slices.Clone(b.ConfigDoc[:len(b.ConfigDoc)-1]), ' ')
		}, "digest does not match"},
		{"other bytes in the manifest", func(b *imagetest.Built, m *memory) {
			m.content[oci.DigestOf(b.ManifestDoc)] = []byte(strings.Replace(string(b.ManifestDoc), "gzip", "gzup", 1))
		}, "verification failed"},
		{"more layers than diff ids", func(b *imagetest.Built, m *memory) {
			b.Manifest.Layers = append(b.Manifest.Layers, b.Manifest.Layers[0])
			m.tag("1", oci.MediaTypeManifest, imagetest.JSON(b.Manifest))
		}, "4 layers, its config 3"},
		{"an artifact", func(b *imagetest.Built, m *memory) {
			b.Manifest.Config.MediaType = "application/vnd.cncf.helm.config.v1+json"
			m.tag("1", oci.MediaTypeManifest, imagetest.JSON(b.Manifest))
		}, "not an image"},
		{"an encrypted layer", func(b *imagetest.Built, m *memory) {
			b.Manifest.Layers[0].MediaType += "+encrypted"
			m.tag("1", oci.MediaTypeManifest, imagetest.JSON(b.Manifest))
		}, "not supported"},
		{"an index in itself", func(b *imagetest.Built, m *memory) {
			x := imagetest.Index(false, b)
			for range 5 {
				m.content[oci.DigestOf(x)] = x
				x = imagetest.JSON(oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []oci.Descriptor{imagetest.Descriptor(oci.MediaTypeIndex, x)}})
			}
			m.tag("1", oci.MediaTypeIndex, x)
		}, "nested deeper"},
		{"schema 1", func(_ *imagetest.Built, m *memory) {
			m.tag("1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1,"fsLayers":[]}`))
		}, "schema 1"},
		{"both kinds", func(b *imagetest.Built, m *memory) {
			m.tag("1", oci.MediaTypeManifest, []byte(strings.Replace(string(b.ManifestDoc), `"layers"`, `"manifests":[],"layers"`, 1)))
		}, "ambiguous"},
		{"a bomb", func(b *imagetest.Built, m *memory) {
			zeros := imagetest.Zstd.Compress(imagetest.Layer{{Name: "zeros", Body: strings.Repeat("\x00", 100<<20)}}.Tar())
			m.content[oci.DigestOf(zeros)] = zeros
			b.Manifest.Layers[0] = imagetest.Descriptor(oci.MediaTypeLayerZstd, zeros)
			m.tag("1", oci.MediaTypeManifest, imagetest.JSON(b.Manifest))
		}, "times the compressed size"},
		{"Windows", func(b *imagetest.Built, m *memory) {
			raw := []byte(strings.Replace(string(b.ConfigDoc), `"os":"linux"`, `"os":"windows"`, 1))
			m.content[oci.DigestOf(raw)] = raw
			b.Manifest.Config = imagetest.Descriptor(oci.MediaTypeConfig, raw)
			m.tag("1", oci.MediaTypeManifest, imagetest.JSON(b.Manifest))
		}, `image operating system "windows" cannot be used`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, b := store(t), three().Build()
			src := repository(b)
			c.spoil(b, src)
			_, err := s.Pull(t.Context(), src, named(t, "team/app:1"), PullOptions{})
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("got %v, want %q", err, c.wantErr)
			}
			if _, err := s.images.Resolve("team/app:1"); !errors.Is(err, errdefs.NotFound) {
				t.Errorf("the name was given: %v", err)
			}
			checkEmpty(t, s)
		})
	}
}

// TestPullLeavesURLsAlone: a layer's URLs lead wherever its author wants.
func TestPullLeavesURLsAlone(t *testing.T) {
	s, b := store(t), three().Build()
	b.Manifest.Layers[0].URLs = []string{"http://127.0.0.1:1/evil"}
	b.Manifest.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	src := repository(b)
	src.tag("1", oci.MediaTypeManifest, imagetest.JSON(b.Manifest))
	if _, err := s.Pull(t.Context(), src, named(t, "a:1"), PullOptions{}); err != nil {
		t.Fatal(err) // the repository has the blob, and nothing else was asked
	}
	checkImage(t, s, "a:1", b)
}

// TestPullResumes breaks a download at several places; each next pull goes on from there.
func TestPullResumes(t *testing.T) {
	img := three()
	random := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(random); i++ {
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	img.Layers[2] = imagetest.Layer{{Name: "random", Body: string(random)}}
	b := img.Build()
	s, src := store(t), repository(b)
	big := b.Manifest.Layers[2]
	for range 4 {
		src.body = func(d oci.Descriptor, r io.Reader) io.Reader {
			if d.Digest == big.Digest {
				return after(big.Size/5, r, errBroken)
			}
			return r
		}
		if _, err := s.Pull(t.Context(), src, named(t, "a:1"), PullOptions{}); !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
	}
	src.body = nil
	if _, err := s.Pull(t.Context(), src, named(t, "a:1"), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	checkImage(t, s, "a:1", b)
	if got := src.fetched[big.Digest]; got != big.Size {
		t.Errorf("fetched %d bytes of %d", got, big.Size)
	}
	if names, _ := os.ReadDir(s.images.PartialDir()); len(names) > 0 {
		t.Errorf("left: %v", names)
	}
}

// TestPullDamagedPartial finds rubbish where an earlier download should be: a
// power cut leaves zeros, since partial files are never synced.
func TestPullDamagedPartial(t *testing.T) {
	for name, rubbish := range map[string]func(size int64) []byte{
		"zeros":    func(n int64) []byte { return make([]byte, n/2) },
		"complete": func(n int64) []byte { return make([]byte, n) },
		"too long": func(n int64) []byte { return make([]byte, 2*n) },
	} {
		t.Run(name, func(t *testing.T) {
			s, b := store(t), three().Build()
			d := b.Manifest.Layers[2]
			if err := os.MkdirAll(s.images.PartialDir(), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(s.images.PartialDir(), d.Digest.Hex()), rubbish(d.Size), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Pull(t.Context(), repository(b), named(t, "a:1"), PullOptions{}); err != nil {
				t.Fatal(err)
			}
			checkImage(t, s, "a:1", b)
		})
	}
}

func TestPullCancelled(t *testing.T) {
	s, b := store(t), three().Build()
	src := repository(b)
	ctx, cancel := context.WithCancel(t.Context())
	src.body = func(d oci.Descriptor, r io.Reader) io.Reader {
		if d.Digest != b.Manifest.Layers[2].Digest {
			return r
		}
		return io.MultiReader(io.LimitReader(r, 100), readerFunc(func([]byte) (int, error) {
			cancel()
			<-ctx.Done()
			return 0, ctx.Err()
		}))
	}
	if _, err := s.Pull(ctx, src, named(t, "a:1"), PullOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(s.images.PartialDir(), b.Manifest.Layers[2].Digest.Hex())); err != nil || fi.Size() != 100 {
		t.Errorf("the download was not kept: %v", err)
	}
	checkEmpty(t, s)
}

// TestPullTogether lets many pull the same image at the same time.
func TestPullTogether(t *testing.T) {
	b := three().Build()
	s := store(t)
	src := repository(b)
	src.body = func(_ oci.Descriptor, r io.Reader) io.Reader {
		time.Sleep(20 * time.Millisecond)
		return r
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			other := New(filepath.Dir(filepath.Dir(s.images.Dir())), 0)
			if _, err := other.Pull(t.Context(), src, named(t, "a:1"), PullOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkImage(t, s, "a:1", b)
	for _, d := range b.Manifest.Layers {
		if src.fetched[d.Digest] != d.Size {
			t.Errorf("layer %s: fetched %d bytes of %d", d.Digest, src.fetched[d.Digest], d.Size)
		}
	}
}

func TestPullMovesTag(t *testing.T) {
	s, one, two := store(t), three(), three()
	two.Layers = two.Layers[:2]
	a, b := one.Build(), two.Build()
	src := repository(a)
	if _, err := s.Pull(t.Context(), src, named(t, "a:1"), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	next := repository(b)
	got, err := s.Pull(t.Context(), next, named(t, "a:1"), PullOptions{})
	if err != nil || !got.Newer {
		t.Fatalf("%+v, %v", got, err)
	}
	checkImage(t, s, "a:1", b)
	if _, err := s.images.Get(a.ID()); err != nil {
		t.Errorf("the old image is gone: %v", err)
	}
}
