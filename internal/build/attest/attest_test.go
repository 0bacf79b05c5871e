package attest

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/image/attestation"
	"berth/internal/oci"
)

func amd64(name string, id string) *plan.Image {
	return &plan.Image{Name: name, ID: oci.DigestOf([]byte(id)), Config: oci.ImageConfig{OS: "linux", Architecture: "amd64"}}
}

// example is a build that uses everything once.
func example() *Build {
	tools := &plan.Stage{Name: "tools", Line: 1, Text: "FROM golang AS tools", Base: plan.Base{Image: amd64("golang", "golang")}, Steps: []plan.Step{
		{Line: 2, EndLine: 3, Text: "RUN make", Op: &plan.Run{Args: []string{"/bin/sh", "-c", "make"}, Env: []string{"V=secret-value"}, Dir: "/src", Network: "none",
			Mounts: []plan.Mount{
				{Type: plan.MountSecret, ID: "token", Required: true}, {Type: plan.MountSecret, ID: "maybe"}, {Type: plan.MountSSH, ID: "default"},
				{Type: plan.MountBind, From: plan.Source{Context: "assets"}}, {Type: plan.MountCache, From: plan.Source{Scratch: true}},
			}}},
	}}
	last := &plan.Stage{Name: "1", Line: 5, Text: "FROM scratch", Steps: []plan.Step{
		{Line: 6, EndLine: 6, Text: "COPY . /", Op: &plan.Copy{Paths: []string{"/"}}},
		{Line: 7, EndLine: 7, Text: "COPY --from=busybox /bin /", Op: &plan.Copy{From: plan.Source{Image: amd64("busybox:1", "busybox")}, Paths: []string{"/bin"}}},
		{Line: 8, EndLine: 8, Text: "COPY --from=0123 /bin /", Op: &plan.Copy{From: plan.Source{Image: amd64(oci.DigestOf([]byte("busybox")).Hex()[:12], "busybox")}, Paths: []string{"/bin"}}},
		{Line: 9, EndLine: 9, Text: "ADD https://x/f /", Op: &plan.Copy{Remote: []string{"https://x/f"}}},
		{Line: 10, EndLine: 10, Text: "CMD true"},
	}}
	at := time.Date(2024, 2, 29, 12, 0, 0, 0, time.FixedZone("", 3600))
	return &Build{
		Plan:       &plan.Plan{Platform: oci.Platform{OS: "linux", Architecture: "amd64"}, Stages: []*plan.Stage{tools, last}},
		Dockerfile: Dockerfile{Name: "Dockerfile", Text: []byte("FROM golang AS tools\n"), Local: true},
		Origins:    []source.Origin{{URL: "https://x/f", Digest: oci.DigestOf([]byte("f"))}, {URL: "https://h/r.git", Commit: strings.Repeat("a", 40)}, {URL: "https://x/f", Digest: oci.DigestOf([]byte("f"))}},
		Image: func(i *plan.Image) oci.Digest {
			if i.Name == "golang" {
				return oci.DigestOf([]byte("index"))
			}
			return ""
		},
		Target: "1", BuildArgs: map[string]string{"V": "secret-value"}, Labels: map[string]string{"l": "x"},
		Named: map[string]string{"assets": "local:assets"}, Options: map[string]string{"no-cache": ""},
		InvocationID: "id", Started: at, Finished: at.Add(time.Minute),
	}
}

func provenance(t *testing.T, b *Build, o Options) (predicate, string) {
	t.Helper()
	p, err := Provenance(b, o)
	if err != nil || p.Type != attestation.Provenance {
		t.Fatal(p.Type, err)
	}
	var got predicate
	if err := json.Unmarshal(p.Content, &got); err != nil {
		t.Fatal(err)
	}
	return got, string(p.Content)
}

func TestProvenanceMin(t *testing.T) {
	p, text := provenance(t, example(), Options{Mode: Min})
	for _, secret := range []string{"secret-value", "token", "make", "FROM"} {
		if strings.Contains(text, secret) {
			t.Errorf("mode=min tells %q: %s", secret, text)
		}
	}
	r := p.BuildDefinition.External.Request
	want := request{Frontend: "dockerfile.v0", Args: map[string]string{"target": "1", "no-cache": "", "context:assets": "local:assets"},
		Locals: []local{{"assets"}, {"context"}, {"dockerfile"}}, Omitted: []string{"build-arg:V", "label:l"}}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("request %+v\nwant    %+v", r, want)
	}
	sum := func(s string) map[string]string { return map[string]string{"sha256": oci.DigestOf([]byte(s)).Hex()} }
	id := oci.DigestOf([]byte("busybox"))
	deps := []resource{
		{URI: "https://h/r.git", Digest: map[string]string{"sha1": strings.Repeat("a", 40)}},
		{URI: "https://x/f", Digest: sum("f")},
		{URI: "pkg:docker/busybox@1?platform=linux%2Famd64", Digest: sum("busybox"), MediaType: oci.MediaTypeConfig},
		{URI: "pkg:docker/golang@latest?platform=linux%2Famd64", Digest: sum("index")},
		{URI: "pkg:oci/image@sha256:" + id.Hex() + "?arch=amd64", Digest: sum("busybox"), MediaType: oci.MediaTypeConfig},
	}
	if !reflect.DeepEqual(p.BuildDefinition.Dependencies, deps) {
		t.Errorf("dependencies %+v\nwant         %+v", p.BuildDefinition.Dependencies, deps)
	}
	m := p.RunDetails.Metadata
	if m.InvocationID != "id" || !strings.Contains(text, `"startedOn":"2024-02-29T11:00:00Z","finishedOn":"2024-02-29T11:01:00Z"`) {
		t.Errorf("metadata %+v", m)
	}
	if m.Completeness != (completeness{}) || m.Hermetic || m.Reproducible || m.BuildKit.Source != nil || p.BuildDefinition.Internal.Steps != nil {
		t.Errorf("metadata %+v", m)
	}
	if p.BuildDefinition.External.ConfigSource.Path != "Dockerfile" || p.RunDetails.Builder.Version["berth"] == "" {
		t.Errorf("%+v", p)
	}
}

func TestProvenanceMax(t *testing.T) {
	p, _ := provenance(t, example(), Options{Mode: Max, BuilderID: "https://ci/1", Reproducible: true})
	r := p.BuildDefinition.External.Request
	if r.Args["build-arg:V"] != "secret-value" || r.Args["label:l"] != "x" || r.Omitted != nil {
		t.Errorf("args %+v", r)
	}
	if !reflect.DeepEqual(r.Secrets, []given{{"maybe", true}, {"token", false}}) || !reflect.DeepEqual(r.SSH, []given{{"default", true}}) {
		t.Errorf("secrets %+v, ssh %+v", r.Secrets, r.SSH)
	}
	steps, src := p.BuildDefinition.Internal.Steps, p.RunDetails.Metadata.BuildKit.Source
	if len(steps) != 8 || steps[1].Text != "RUN make" || steps[1].Args[2] != "make" || steps[1].Network != "none" || steps[7].Text != "CMD true" {
		t.Errorf("steps %+v", steps)
	}
	if string(src.Infos[0].Data) != "FROM golang AS tools\n" || src.Locations["step1"].Locations[0].Ranges[0] != (lineRange{position{2}, position{3}}) {
		t.Errorf("source %+v", src)
	}
	if p.RunDetails.Builder.ID != "https://ci/1" || !p.RunDetails.Metadata.Reproducible || !p.RunDetails.Metadata.Completeness.Request {
		t.Errorf("%+v", p.RunDetails)
	}
}

// TestHermetic: a build from a commit, whose programs have no network, is known whole.
func TestHermetic(t *testing.T) {
	b := example()
	b.Context = &source.Origin{URL: "https://h/r.git#main", Commit: strings.Repeat("b", 64)}
	b.Dockerfile.Local, b.Named = false, map[string]string{"assets": "https://x/assets.git"}
	p, _ := provenance(t, b, Options{Mode: Max})
	c := p.BuildDefinition.External.ConfigSource
	if c.URI != "https://h/r.git#main" || c.Digest["sha256"] != b.Context.Commit {
		t.Errorf("config source %+v", c)
	}
	if m := p.RunDetails.Metadata; !m.Hermetic || !m.Completeness.ResolvedDependencies || p.BuildDefinition.External.Request.Locals != nil {
		t.Errorf("%+v", m)
	}
	b.Plan.Stages[0].Steps[0].Op.(*plan.Run).Network = "default"
	if p, _ := provenance(t, b, Options{Mode: Max}); p.RunDetails.Metadata.Hermetic {
		t.Error("a build with a network is hermetic")
	}
}

func TestSBOMOfNothing(t *testing.T) {
	p, err := SBOM(t.Context(), nil, "x", time.Unix(0, 0))
	if err != nil || p.Type != attestation.SPDX || !strings.Contains(string(p.Content), `"spdxVersion":"SPDX-2.3"`) {
		t.Errorf("%s, %v", p.Content, err)
	}
}
