package build

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
)

func TestSecret(t *testing.T) {
	for in, want := range map[string]secret{
		"id=a,src=/x":         {id: "a", path: "/x"},
		"id=a,source=/x":      {id: "a", path: "/x"},
		"type=file,id=a":      {id: "a", path: "a"},
		"id=a,env=E":          {id: "a", env: "E"},
		"type=env,id=a":       {id: "a", env: "a"},
		"type=env,id=a,src=E": {id: "a", env: "E"},
		"id=a":                {id: "a"},
		"src=/dir/name":       {id: "name", path: "/dir/name"},
		`"id=a,b",src=/x`:     {id: "a,b", path: "/x"},
	} {
		if got, err := parseSecret(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "id", "id=a,foo=b", "type=x,id=a", "id=a,src=x,env=y", `"`, "type=file"} {
		if got, err := parseSecret(in); err == nil {
			t.Errorf("%q was accepted: %+v", in, got)
		}
	}
}

func TestDestination(t *testing.T) {
	none := map[string]string{}
	for in, want := range map[string]destination{
		"out":                         {kind: "local", dest: "out"},
		"-":                           {kind: "tar", dest: "-"},
		"type=tar,dest=a.tar":         {kind: "tar", dest: "a.tar", attrs: none},
		"type=registry":               {kind: "image", push: true, attrs: none},
		"type=docker":                 {kind: "image", attrs: none},
		"type=docker,dest=-":          {kind: "docker", dest: "-", attrs: none},
		"type=image,name=a:1,push=1":  {kind: "image", push: true, names: []string{"a:1"}, attrs: none},
		"type=oci,compression=zstd":   {kind: "oci", attrs: map[string]string{"compression": "zstd"}},
		`type=image,"name=a:1,b"`:     {kind: "image", names: []string{"a:1", "b"}, attrs: none},
		"type=local,dest=with=equals": {kind: "local", dest: "with=equals", attrs: none},
	} {
		if got, err := parseDestination(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "dest=x", "type=local", "type=local,dest=-", "type=floppy", "type=image,dest=x", "type=image,name=UP", "type=tar,x", "type=oci,tar=false"} {
		if got, err := parseDestination(in); err == nil {
			t.Errorf("%q was accepted: %+v", in, got)
		}
	}
}

func TestAnnotation(t *testing.T) {
	for in, want := range map[string]annotation{
		"a=b=c": {"a", "b=c"}, "manifest:a=b": {"a", "b"}, "manifest[linux/amd64]:a=b": {"a", "b"},
	} {
		if got, err := parseAnnotation(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "=b", "index:a=b", "foo:a=b", "manifest:=b"} {
		if got, err := parseAnnotation(in); err == nil {
			t.Errorf("%q was accepted: %+v", in, got)
		}
	}
}

// FuzzValues feeds all parsers of flags: none may panic, and what one accepts
// it must accept again.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"id=a,src=b", "type=oci,dest=x", "default=a,b", "manifest:a=b", "name=docker-image://x", `"a,b"=c`, "a=\n", "type=cacheonly"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if v, err := parseSecret(s); err == nil && v.id == "" {
			t.Errorf("%q: a secret without an id", s)
		}
		if v, err := parseSSH(s); err == nil && v.id == "" {
			t.Errorf("%q: an agent without an id", s)
		}
		if v, err := parseDestination(s); err == nil && v.kind == "" {
			t.Errorf("%q: a destination of no kind", s)
		}
		if v, err := parseAnnotation(s); err == nil && v.key == "" {
			t.Errorf("%q: an annotation without a key", s)
		}
		checkContext(s)      //nolint:errcheck // it must not panic
		parseCacheTo(s)      //nolint:errcheck // as above
		parseCacheFrom(s)    //nolint:errcheck // as above
		buildArg(nowhere)(s) //nolint:errcheck // as above
	})
}

func nowhere(string) (string, bool) { return "", false }

// parse reads a command line of build.
func parse(t *testing.T, lookup func(string) (string, bool), args ...string) (*request, error) {
	t.Helper()
	env := command.New(&streams.Streams{In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
	env.LookupEnv = lookup
	var f flags
	fs := pflag.NewFlagSet("build", pflag.ContinueOnError)
	f.bind(fs, env)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	return f.request(".")
}

func TestRequest(t *testing.T) {
	lookup := func(name string) (string, bool) { return "from " + name, name == "HAVE" }
	r, err := parse(t, lookup, "-t", "a:1", "-t", "b", "--build-arg", "A=1", "--build-arg", "HAVE", "--build-arg", "NOT", "--label", "x=y",
		"-o", "type=oci,dest=o.tar", "--load", "--platform", "linux/arm64", "--allow", "security.insecure,network.host")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.buildArgs, map[string]string{"A": "1", "HAVE": "from HAVE"}) {
		t.Errorf("arguments: %v", r.buildArgs)
	}
	if len(r.tags) != 2 || r.tags[1].Familiar() != "b:latest" || len(r.platforms) != 1 || r.platforms[0].Architecture != "arm64" || !r.allowHost || !r.allowInsecure {
		t.Errorf("%+v", r)
	}
	kinds := []string{}
	for _, o := range r.outputs {
		kinds = append(kinds, o.kind)
	}
	if !slices.Equal(kinds, []string{"oci", "image"}) {
		t.Errorf("outputs %v", kinds)
	}
	for _, args := range [][]string{{"--provenance=false", "--sbom=0"}, {"--attest", "type=sbom,disabled=true"}, {"--network", "bridge"}, {"--isolation", "default"}} {
		if _, err := parse(t, nowhere, args...); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// What berth cannot do is said before anything is done, with a next step.
func TestRefused(t *testing.T) {
	for args, want := range map[string]string{
		"--push":                                           "tag is needed",
		"-o type=registry":                                 "tag is needed",
		"--push -t x -o y":                                 "can't be used together",
		"-t x -o type=oci,dest=y,push=true":                "cannot be pushed",
		"--sbom=generator=x":                               "generator",
		"--provenance=mode=all":                            "mode is min or max",
		"--provenance=version=v0.2":                        "version v1",
		"--provenance=reproducible=maybe":                  "true or false",
		"--attest type=vex":                                "unknown attestation type",
		"--attest mode=min":                                "type not specified",
		"--attest type=sbom,x=y":                           "unknown parameter",
		"--sbom -o type=docker,dest=x":                     "no attestations",
		"--policy x":                                       "policies",
		"--isolation hyperv":                               "hyperv",
		"--security-opt x":                                 "--security-opt",
		"--platform linux/a,linux/b":                       "images of one platform",
		"--platform linux/a,linux/b -o type=docker,dest=x": "holds one platform",
		"--platform linux/a,linux/b -o type=tar,dest=x,platform-split=0": "replace each other",
		"--platform linux/a,linux/b -o x --progress=classic":             "one platform",
		"--platform linux/a,linux/b -o x --verify":                       "one platform",
		"--on-error shell":                       "needs a terminal",
		"--on-error x":                           "invalid --on-error",
		"--cache-to type=gha":                    "type=gha",
		"--cache-to type=local":                  "dest is required",
		"--cache-from type=local,dest=x":         "unknown field",
		"--cache-from type=inline":               "by the image's name",
		"--cache-from UPPER":                     "lower",
		"--cache-to type=local,dest=x,mode=all":  "min or max",
		"--cache-to type=registry":               "ref is required",
		"--cache-to type=inline -o x":            "none is made",
		"--cache-to type=inline --squash":        "leaves no layers",
		"--network web":                          "web",
		"--allow everything":                     "everything",
		"--progress loud":                        "loud",
		"-o - -o type=oci":                       "several outputs",
		"-o - --progress classic":                "standard output",
		"--ssh =x":                               "needs an id",
		"--build-context a":                      "expected key=value",
		"--build-arg =x":                         "no name",
		"-t a@sha256:" + strings.Repeat("0", 64): "digest",
	} {
		_, err := parse(t, nowhere, strings.Fields(args)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if errdefs.KindOf(err) == errdefs.Unsupported && errdefs.HintOf(err) == "" {
			t.Errorf("%s: no next step", args)
		}
	}
}

// Archives have provenance unless somebody says otherwise; the store has what was asked for.
func TestAttesting(t *testing.T) {
	type want struct {
		store, archive, files string
	}
	for args, w := range map[string]want{
		"":                                 {"", "min", ""},
		"BUILDX_NO_DEFAULT_ATTESTATIONS=1": {},
		"BUILDX_NO_DEFAULT_ATTESTATIONS=0": {"", "min", ""},
		"SOURCE_DATE_EPOCH=1":              {},
		"--provenance=false":               {},
		"--provenance":                     {"max", "max", "max"},
		"--provenance=mode=min":            {"min", "min", "min"},
		"--attest type=provenance,mode=min,inline-only=true":         {"min", "min", ""},
		"--attest type=provenance,mode=min --attest type=provenance": {"max", "max", "max"},
		"--sbom":                           {"sbom", "min sbom", "sbom"},
		"--sbom --provenance=false":        {"sbom", "sbom", "sbom"},
		"--attest type=sbom,disabled=true": {"", "min", ""},
	} {
		env := map[string]string{}
		var flags []string
		for _, a := range strings.Fields(args) {
			if name, value, ok := strings.Cut(a, "="); ok && !strings.HasPrefix(a, "-") && name == strings.ToUpper(name) {
				env[name] = value
			} else {
				flags = append(flags, a)
			}
		}
		r, err := parse(t, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, flags...)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		got := func(kind string) string {
			var said []string
			if r.attestations.wantsProvenance(kind) {
				said = append(said, string(r.attestations.provenance.Mode))
			}
			if r.attestations.sbom {
				said = append(said, "sbom")
			}
			return strings.Join(said, " ")
		}
		if have := (want{got("image"), got("oci"), got("tar")}); have != w {
			t.Errorf("%s: %+v, want %+v", args, have, w)
		}
	}
	if _, err := parse(t, func(string) (string, bool) { return "maybe", true }); err == nil {
		t.Error("a variable that is neither true nor false was accepted")
	}
}
