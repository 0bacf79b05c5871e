package dockerfile

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

var update = flag.Bool("update", false, "write what is read into the files of testdata")

// A file of testdata/cases holds cases of one topic. Each is a Dockerfile and,
// as NAME.want, its plan or its error; NAME.options are lines like
// "target build", "arg NAME=VALUE", "platform linux/arm64", "context NAME [IMAGE]".
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string]string{}
		for _, f := range archive.Files {
			parts[f.Name] = string(f.Data)
		}
		var out txtar.Archive
		out.Comment = archive.Comment
		for _, f := range archive.Files {
			if strings.Contains(f.Name, ".") {
				continue
			}
			got := outcome(t, string(f.Data), caseOptions(t, parts[f.Name+".options"]))
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+f.Name, func(t *testing.T) {
				if want := parts[f.Name+".want"]; got != want && !*update {
					t.Errorf("got\n%s\nwant\n%s\nfor\n%s", got, want, f.Data)
				}
			})
			out.Files = append(out.Files, f)
			if o := parts[f.Name+".options"]; o != "" {
				out.Files = append(out.Files, txtar.File{Name: f.Name + ".options", Data: []byte(o)})
			}
			out.Files = append(out.Files, txtar.File{Name: f.Name + ".want", Data: []byte(got)})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(&out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// outcome is the plan, or the error with its kind and hint.
func outcome(t *testing.T, text string, o Options) string {
	t.Helper()
	p, err := makePlan(text, o)
	if err == nil {
		return describe(p)
	}
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("%T, not *Error: %v", err, err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("an error of several lines: %v", err)
	}
	kind := errdefs.KindOf(err)
	if kind == errdefs.Internal {
		t.Errorf("no kind: %v", err)
	}
	if errdefs.HintOf(err) == "" {
		t.Errorf("no next step: %v", err)
	}
	return "error: " + err.Error() + "\nkind: " + kind.String() + "\nhint: " + errdefs.HintOf(err) + "\n"
}

func caseOptions(t *testing.T, text string) Options {
	t.Helper()
	o := testOptions()
	o.BuildArgs, o.Labels, o.Contexts = map[string]string{}, map[string]string{}, map[string]Context{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, rest, _ := strings.Cut(value, "=")
		switch key {
		case "target":
			o.Target = value
		case "network":
			o.Network = value
		case "arg":
			o.BuildArgs[name] = rest
		case "label":
			o.Labels[name] = rest
		case "ignored":
			o.Ignored = func(p string) bool { return p == value }
		case "context":
			name, image, _ := strings.Cut(value, " ")
			o.Contexts[name] = Context{Image: image}
		case "platform":
			p, err := oci.ParsePlatform(value)
			if err != nil {
				t.Fatal(err)
			}
			o.Platform = p
		default:
			t.Fatalf("unknown option %q", line)
		}
	}
	return o
}

// A stage that the target does not need may have a base that does not exist.
func TestOnlyNeededImagesAreAskedFor(t *testing.T) {
	const text = `FROM missing AS unneeded
RUN x
FROM golang:1.26 AS build
FROM alpine AS tools
FROM debian:12 AS last
COPY --from=build /a /a
RUN --mount=from=node:22,target=/node true
COPY --from=golang:1.26 /b /b
`
	for target, want := range map[string]string{
		"":      "golang:1.26 debian:12 node:22",
		"build": "golang:1.26",
		"tools": "alpine",
		"2":     "alpine",
	} {
		r := &resolver{}
		o := testOptions()
		o.Resolve, o.Target = r.resolve, target
		f, err := Parse("Dockerfile", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Plan(context.Background(), o); err != nil {
			t.Fatal(err)
		}
		if got := r.names(); got != want {
			t.Errorf("target %q asked for %s, want %s", target, got, want)
		}
	}
	o := testOptions()
	o.Target = "unneeded"
	_, err := makePlan(text, o)
	if !errors.Is(err, errdefs.NotFound) {
		t.Errorf("a needed base that does not exist: %v", err)
	}
}
