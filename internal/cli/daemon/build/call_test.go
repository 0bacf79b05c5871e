package build

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"berth/internal/build/dockerfile"
	"berth/internal/build/plan"
	"berth/internal/oci"
)

const described = `# VERSION of the tools
ARG VERSION=1.2
# build the program
FROM alpine:${VERSION} AS build
RUN --mount=type=secret,id=token,required=true --mount=type=ssh make
RUN --mount=type=secret,id=token --mount=type=secret,id=other true
maintainer me
FROM build
`

// called is a build that is asked about its Dockerfile.
func called(t *testing.T, call, target string) (*build, *plan.Plan) {
	t.Helper()
	r, err := parse(t, nowhere, "--call", call)
	if err != nil {
		t.Fatal(err)
	}
	b := &build{request: r, text: definition{name: "Dockerfile", text: []byte(described)}}
	if b.file, err = dockerfile.Parse("Dockerfile", b.text.text); err != nil {
		t.Fatal(err)
	}
	p, err := b.file.Plan(t.Context(), dockerfile.Options{Target: target, Resolve: func(_ context.Context, name string, _ oci.Platform) (*plan.Image, error) {
		return &plan.Image{Name: name, ID: oci.DigestOf([]byte(name)), Config: oci.ImageConfig{OS: "linux", Architecture: "amd64"}}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

func TestTargets(t *testing.T) {
	b, _ := called(t, "targets", "")
	m, err := b.targets(b.file)
	if want := "TARGET    DESCRIPTION\nbuild     the program\n(default) \n"; err != nil || m.text != want {
		t.Errorf("%q, %v; want %q", m.text, err, want)
	}
}

func TestOutline(t *testing.T) {
	b, p := called(t, "outline", "build")
	m, err := b.outline(p)
	want := `TARGET:      build
DESCRIPTION: the program

BUILD ARG   VALUE   DESCRIPTION
VERSION     1.2     of the tools

SECRET   REQUIRED
token    true
other    

SSH       REQUIRED
default   

`
	if err != nil || m.text != want {
		t.Errorf("%q, %v\nwant %q", m.text, err, want)
	}
	b, p = called(t, "outline,format=json", "")
	m, err = b.outline(p)
	var got outlineList
	if err != nil || json.Unmarshal([]byte(m.text), &got) != nil {
		t.Fatal(m.text, err)
	}
	if got.Name != "" || got.Args[0].Name != "VERSION" || got.Args[0].Location.Ranges[0].Start.Line != 2 || !got.Secrets[0].Required || string(got.Sources[0]) != described {
		t.Errorf("%+v", got)
	}
}

func TestRemarks(t *testing.T) {
	b, p := called(t, "check", "")
	m, err := b.remarks(p.Warnings)
	want := `Check complete, 2 warnings have been found!

WARNING: MaintainerDeprecated - https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/
Maintainer instruction is deprecated in favor of using label
Dockerfile:7
--------------------
   5 |     RUN --mount=type=secret,id=token,required=true --mount=type=ssh make
   6 |     RUN --mount=type=secret,id=token --mount=type=secret,id=other true
   7 | >>> maintainer me
   8 |     FROM build
--------------------

WARNING: ConsistentInstructionCasing - https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/
Command 'maintainer' should match the case of the command majority (uppercase)
Dockerfile:7
--------------------
   5 |     RUN --mount=type=secret,id=token,required=true --mount=type=ssh make
   6 |     RUN --mount=type=secret,id=token --mount=type=secret,id=other true
   7 | >>> maintainer me
   8 |     FROM build
--------------------
`
	if err != nil || m.text != want || !m.failed {
		t.Errorf("%s, %v\nwant %s", m.text, err, want)
	}
	b, p = called(t, "lint,format=json,ignorestatus=1", "")
	m, err = b.remarks(p.Warnings)
	var got lintResults
	if err != nil || m.failed || json.Unmarshal([]byte(m.text), &got) != nil || len(got.Warnings) != 2 || got.Warnings[0].RuleName != "MaintainerDeprecated" || got.Sources[0].Filename != "Dockerfile" {
		t.Errorf("%s, %v", m.text, err)
	}
	if m, err := b.remarks(nil); err != nil || !strings.Contains(m.text, `"warnings": []`) || m.failed {
		t.Errorf("%s, %v", m.text, err)
	}
}

func TestCall(t *testing.T) {
	for in, want := range map[string]string{"": "build", "build": "build", "lint": "check", "check,format=text": "check", "subrequests.outline": "outline", "targets,format=json": "targets"} {
		if r, err := parse(t, nowhere, "--call="+in); err != nil || r.call != want {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, in := range []string{"bake", "check,format=xml", "check,ignorestatus=maybe", "check,outline", `"`} {
		if _, err := parse(t, nowhere, "--call="+in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}
