package attestation

import (
	"encoding/json"
	"reflect"
	"testing"

	"berth/internal/oci"
	"berth/internal/reference"
)

func TestPackageURL(t *testing.T) {
	for _, c := range []struct {
		p    PackageURL
		want string
	}{
		{PackageURL{Type: "deb", Namespace: "debian", Name: "bash", Version: "5.2.15-2+b7", Qualifiers: map[string]string{"distro": "debian-12", "arch": "amd64"}},
			"pkg:deb/debian/bash@5.2.15-2%2Bb7?arch=amd64&distro=debian-12"},
		{PackageURL{Type: "deb", Namespace: "debian", Name: "libstdc++6", Version: "1:2~rc1"}, "pkg:deb/debian/libstdc%2B%2B6@1:2~rc1"},
		{PackageURL{Type: "apk", Name: "musl"}, "pkg:apk/musl"},
		{PackageURL{Type: "rpm", Namespace: "a b//c", Name: "é", Qualifiers: map[string]string{"arch": ""}}, "pkg:rpm/a%20b/c/%C3%A9"},
	} {
		if got := c.p.String(); got != c.want {
			t.Errorf("%v = %s, want %s", c.p, got, c.want)
		}
	}
}

func TestImageURL(t *testing.T) {
	d := "sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for name, want := range map[string]string{
		"alpine":                      "pkg:docker/alpine@latest?platform=linux%2Farm64%2Fv8",
		"localhost:5000/team/web:1.2": "pkg:docker/localhost:5000/team/web@1.2?platform=linux%2Farm64%2Fv8",
		"alpine@" + d:                 "pkg:docker/alpine?digest=" + d + "&platform=linux%2Farm64%2Fv8",
	} {
		n, err := reference.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := ImageURL(n, oci.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestManifest(t *testing.T) {
	image := oci.Descriptor{MediaType: oci.MediaTypeManifest, Digest: oci.DigestOf([]byte("image")), Size: 5}
	subjects := ImageSubjects(nil, oci.Platform{}, image.Digest)
	if subjects[0].Name != "_" || subjects[0].Digest["sha256"] != image.Digest.Hex() {
		t.Fatalf("subjects %v", subjects)
	}
	statements := []Statement{
		Predicate{Provenance, json.RawMessage(`{"a":1}`)}.About(subjects),
		Predicate{SPDX, json.RawMessage(`{"b":2}`)}.About(subjects),
	}
	m, err := NewManifest(image, statements)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": string(image.Digest)}
	if !reflect.DeepEqual(m.Descriptor.Annotations, want) || m.Descriptor.Platform.String() != "unknown/unknown" {
		t.Fatalf("descriptor %+v", m.Descriptor)
	}
	if len(m.Blobs) != 4 {
		t.Fatalf("%d blobs, want manifest, config and two statements", len(m.Blobs))
	}
	for d, b := range m.Blobs {
		if oci.DigestOf(b) != d {
			t.Errorf("the blob %s has another digest", d)
		}
	}
	doc, err := oci.ParseManifest(m.Blobs[m.Descriptor.Digest], m.Descriptor.MediaType)
	if err != nil {
		t.Fatal(err)
	}
	config, err := oci.ParseConfig(m.Blobs[doc.Config.Digest])
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range doc.Layers {
		if l.MediaType != MediaType || l.Annotations["in-toto.io/predicate-type"] != statements[i].PredicateType || config.RootFS.DiffIDs[i] != l.Digest {
			t.Errorf("layer %d: %+v", i, l)
		}
		var got Statement
		if err := json.Unmarshal(m.Blobs[l.Digest], &got); err != nil || !reflect.DeepEqual(got, statements[i]) {
			t.Errorf("statement %d: %+v, %v", i, got, err)
		}
	}
	again, err := NewManifest(image, statements)
	if err != nil || again.Descriptor.Digest != m.Descriptor.Digest {
		t.Errorf("made again: %s, %v; want %s", again.Descriptor.Digest, err, m.Descriptor.Digest)
	}
}
