package oci

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"berth/internal/errdefs"
)

const (
	digestA = "sha256:7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"
	descA   = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + digestA + `","size":7}`
)

func TestParseDocument(t *testing.T) {
	manifest := `{"schemaVersion":2,"config":` + descA + `,"layers":[` + descA + `]}`
	index := `{"schemaVersion":2,"manifests":[` + descA + `]}`
	for _, c := range []struct{ name, doc, contentType, want, wantErr string }{
		{name: "manifest without type", doc: manifest, want: MediaTypeManifest},
		{name: "index without type", doc: index, want: MediaTypeIndex},
		{name: "type from source", doc: manifest, contentType: MediaTypeDockerManifest + "; charset=utf-8", want: MediaTypeDockerManifest},
		{name: "plain JSON", doc: manifest, contentType: "application/json", wantErr: ""},
		{name: "typed", doc: typed(manifest, MediaTypeDockerManifest), contentType: MediaTypeDockerManifest, want: MediaTypeDockerManifest},
		{name: "empty layers", doc: `{"schemaVersion":2,"config":` + descA + `,"layers":[]}`, want: MediaTypeManifest},

		{name: "both", doc: `{"schemaVersion":2,"config":` + descA + `,"layers":[],"manifests":[]}`, wantErr: "ambiguous"},
		{name: "both by case", doc: `{"schemaVersion":2,"config":` + descA + `,"Layers":[],"MANIFESTS":[]}`, wantErr: "ambiguous"},
		{name: "neither", doc: `{"schemaVersion":2}`, wantErr: "neither"},
		{name: "served as other", doc: typed(manifest, MediaTypeManifest), contentType: MediaTypeDockerManifest, wantErr: "is served as"},
		{name: "index called manifest", doc: typed(index, MediaTypeManifest), wantErr: "ambiguous"},
		{name: "index served as manifest", doc: index, contentType: MediaTypeManifest, wantErr: "ambiguous"},
		{name: "manifest served as index", doc: manifest, contentType: MediaTypeDockerIndex, wantErr: "ambiguous"},
		{name: "other type", doc: typed(manifest, "application/vnd.example"), wantErr: "cannot use"},
		{name: "schema 1", doc: `{"schemaVersion":1,"name":"a","fsLayers":[],"history":[]}`, wantErr: "schema 1"},
		{name: "schema 1 by type", doc: manifest, contentType: mediaTypeSchema1Signed, wantErr: "schema 1"},
		{name: "schema 1 hidden", doc: `{"schemaVersion":2,"fsLayers":[],"config":` + descA + `,"layers":[]}`, wantErr: "schema 1"},
		{name: "schema 3", doc: `{"schemaVersion":3,"config":` + descA + `,"layers":[]}`, wantErr: "schema version 3"},
		{name: "duplicate key", doc: `{"schemaVersion":2,"layers":[],"layers":[` + descA + `],"config":` + descA + `}`, wantErr: "twice"},
		{name: "duplicate key escaped", doc: `{"schemaVersion":2,"layers":[],"l\u0061yers":[],"config":` + descA + `}`, wantErr: "twice"},
		{name: "duplicate key by case", doc: `{"schemaVersion":2,"layers":[],"Layers":[],"config":` + descA + `}`, wantErr: "twice"},
		{name: "duplicate key inside", doc: `{"schemaVersion":2,"layers":[{"digest":"a","digest":"b"}],"config":` + descA + `}`, wantErr: "twice"},
		{name: "deep", doc: strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5), wantErr: "nested deeper"},
		{name: "long", doc: `{"a":"` + strings.Repeat("x", MaxDocument) + `"}`, wantErr: "larger than 4 MiB"},
		{name: "empty", doc: "", wantErr: "not valid JSON"},
		{name: "cut off", doc: manifest[:len(manifest)-1], wantErr: "not valid JSON"},
		{name: "trailing", doc: manifest + manifest, wantErr: "malformed"},
		{name: "null", doc: "null", wantErr: "schema version 0"},
		{name: "traversal digest", doc: strings.Replace(manifest, digestA, "sha256:../../../etc/passwd", 1), wantErr: "invalid digest"},
		{name: "upper-case digest", doc: strings.Replace(manifest, digestA, strings.ToUpper(digestA), 1), wantErr: "invalid digest"},
		{name: "sha1 digest", doc: strings.Replace(manifest, digestA, "sha1:"+digestA[7:47], 1), wantErr: "invalid digest"},
		{name: "negative size", doc: strings.Replace(manifest, `"size":7`, `"size":-7`, 1), wantErr: "claims a size"},
		{name: "huge config", doc: strings.Replace(manifest, `"size":7`, `"size":4194305`, 1), wantErr: "claims a size"},
		{name: "size overflow", doc: strings.Replace(manifest, `"size":7`, `"size":9223372036854775808`, 1), wantErr: "malformed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := ParseDocument([]byte(c.doc), c.contentType)
			if c.wantErr == "" {
				if err != nil || (d.Manifest == nil) == (d.Index == nil) || c.want != "" && d.MediaType != c.want {
					t.Fatalf("got %+v, %v", d, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Fatalf("got error %v, want %q", err, c.wantErr)
			}
			if k := errdefs.KindOf(err); k != errdefs.InvalidArgument && k != errdefs.Unsupported {
				t.Fatalf("kind %v", k)
			}
		})
	}
	if _, err := ParseManifest([]byte(index), ""); err == nil {
		t.Error("index taken for a manifest")
	}
	if _, err := ParseIndex([]byte(manifest), ""); err == nil {
		t.Error("manifest taken for an index")
	}
}

func typed(doc, mediaType string) string {
	return strings.Replace(doc, "{", `{"mediaType":"`+mediaType+`",`, 1)
}

func TestParseConfig(t *testing.T) {
	c, err := ParseConfig([]byte(`{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Labels":{"x":"1","X":"2"}},"rootfs":{"type":"layers","diff_ids":["` + digestA + `"]},"unknown":{"a":[1,2,{}]}}`))
	if err != nil || c.Config.Labels["X"] != "2" || c.Config.Env[0] != "A=b" || len(c.RootFS.DiffIDs) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, doc := range map[string]string{
		"twice":         `{"os":"linux","OS":"windows"}`,
		"twice below":   `{"config":{"Env":[],"env":["LD_PRELOAD=x"]}}`,
		"twice deep":    `{"config":{"Labels":{"a":"1","a":"2"}}}`,
		"diff id":       `{"rootfs":{"type":"layers","diff_ids":["sha256:.."]}}`,
		"type":          `{"rootfs":{"type":"base"}}`,
		"not an object": `[]`,
	} {
		if _, err := ParseConfig([]byte(doc)); !errors.Is(err, errdefs.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":`+descA+`,"layers":[`+descA+`]}`), MediaTypeManifest)
	f.Add([]byte(`{"schemaVersion":2,"manifests":[`+descA+`]}`), "")
	f.Add([]byte(`{"a":[{"a":1,"A":2}],"b":null}`), "application/json")
	f.Fuzz(func(t *testing.T, doc []byte, contentType string) {
		d, err := ParseDocument(doc, contentType)
		if err != nil {
			return
		}
		if (d.Manifest == nil) == (d.Index == nil) || !json.Valid(doc) {
			t.Fatalf("%q gives %+v", doc, d)
		}
		var all []Descriptor
		if d.Manifest != nil {
			all = append(d.Manifest.Layers, d.Manifest.Config)
		} else {
			all = d.Index.Manifests
		}
		for _, desc := range all {
			if _, err := ParseDigest(string(desc.Digest)); err != nil || desc.Size < 0 {
				t.Fatalf("%q gives %+v", doc, desc)
			}
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"architecture":"amd64","os":"linux","config":{"Env":["A=b"]},"rootfs":{"type":"layers","diff_ids":["` + digestA + `"]}}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		if c, err := ParseConfig(doc); err == nil {
			for _, d := range c.RootFS.DiffIDs {
				if len(d.Hex()) != 64 {
					t.Fatal(d)
				}
			}
		}
	})
}
