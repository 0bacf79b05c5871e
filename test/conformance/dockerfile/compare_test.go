package dockerfile

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"berth/internal/build/dockerfile"
)

// options are a case's, as internal/build/dockerfile writes them.
type options struct {
	target, network, platform string
	args, labels              map[string]string
	contexts                  bool
	anyImage                  bool // there is an image of every name
}

func readOptions(t *testing.T, text string) options {
	o := options{args: map[string]string{}, labels: map[string]string{}}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, rest, _ := strings.Cut(value, "=")
		switch key {
		case "target":
			o.target = value
		case "network":
			o.network = value
		case "platform":
			o.platform = value
		case "arg":
			o.args[name] = rest
		case "label":
			o.labels[name] = rest
		case "context", "ignored":
			o.contexts = true
		default:
			t.Fatalf("unknown option %q", line)
		}
	}
	return o
}

// deliberate are the cases where berth means to differ.
var deliberate = map[string]string{
	"args/syntax-arg":            "BuildKit's gateway would start the front end's image; berth runs none",
	"directives/syntax-version":  "the same",
	"directives/syntax-fork":     "the same",
	"directives/syntax-variant":  "the same",
	"args/value-too-long":        "no program could be started with the variable",
	"copy/exclude-bad":           "BuildKit notices when it copies",
	"copy/add-scheme":            "BuildKit looks for a file of that name",
	"from/platform-windows":      "berth builds for Linux",
	"from/target-number":         "Docker's older builder took a number, and COPY --from does",
	"mount/secret-env-empty":     "a variable needs a name",
	"onbuild/needs-stage-itself": "BuildKit copies from the stage as far as it has come",
	"run/device-required":        "not supported",
}

func TestCases(t *testing.T) {
	files, err := filepath.Glob(cases + "/cases/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	compared := 0
	for _, name := range files {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for _, f := range archive.Files {
			texts[f.Name] = string(f.Data)
		}
		for _, f := range archive.Files {
			o := readOptions(t, texts[f.Name+".options"])
			if strings.Contains(f.Name, ".") || o.contexts { // a named context needs a whole client of BuildKit's
				continue
			}
			compared++
			topic := strings.TrimSuffix(filepath.Base(name), ".txtar") + "/" + f.Name
			t.Run(topic, func(t *testing.T) { compareOne(t, topic, string(f.Data), o) })
		}
	}
	if compared < 300 {
		t.Errorf("only %d cases", compared)
	}
}

// TestFiles compares whole Dockerfiles as people write them.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob(cases + "/files/*.dockerfile")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		topic := filepath.Base(name)
		t.Run(topic, func(t *testing.T) {
			compareOne(t, topic, string(text), options{args: map[string]string{}})
			compareOne(t, topic, string(text), options{args: map[string]string{"VERSION": "9", "HTTP_PROXY": "http://p"}, platform: "linux/arm64"})
		})
	}
	others, err := filepath.Glob(*more)
	if err != nil || *more != "" && len(others) == 0 {
		t.Fatalf("no files match %s", *more)
	}
	for _, name := range others {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { compareStages(t, name, string(text)) })
	}
}

var more = flag.String("files", "", "a pattern of more Dockerfiles, which TestFiles compares stage by stage")

// compareStages compares a file with each of its stages as the target.
func compareStages(t *testing.T, topic, text string) {
	for _, platform := range []string{"linux/amd64", "linux/arm64"} {
		o := options{args: map[string]string{}, platform: platform, anyImage: true}
		compareOne(t, topic, text, o)
		file, err := dockerfile.Parse("Dockerfile", []byte(text))
		if err != nil {
			return
		}
		for _, s := range file.Stages() {
			if o.target = s.Name; o.target != "" {
				compareOne(t, topic+" target "+o.target, text, o)
			}
		}
	}
}

func compareOne(t *testing.T, topic, text string, o options) {
	t.Helper()
	got, gotErr := askBerth(text, o)
	want, wantErr := askBuildKit(text, o)
	diff := ""
	switch {
	case wantErr != nil && gotErr == nil:
		diff = "BuildKit refuses it: " + wantErr.Error()
	case wantErr == nil && gotErr != nil:
		diff = "berth refuses it: " + gotErr.Error()
	case wantErr == nil:
		diff = difference(want, got)
	}
	why, meant := deliberate[topic]
	switch {
	case diff != "" && !meant:
		t.Errorf("%s\nfor\n%s", diff, text)
	case diff == "" && meant:
		t.Errorf("there is no difference any more, though: %s", why)
	}
}
