package dockerfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// FuzzPlan reads texts of strangers: it must neither panic nor take long, every
// error is one line with a place inside the text, and a plan is whole.
func FuzzPlan(f *testing.F) {
	for _, pattern := range []string{"testdata/cases/*.txtar", "testdata/files/*.dockerfile"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			if !strings.HasSuffix(name, ".txtar") {
				f.Add(string(text), "VERSION", "1")
				continue
			}
			for _, file := range txtar.Parse(text).Files {
				if !strings.Contains(file.Name, ".") {
					f.Add(string(file.Data), "A", "x")
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, text, name, value string) {
		began := time.Now()
		file, err := Parse("Dockerfile", []byte(text))
		if err == nil {
			var p *plan.Plan
			o := Options{
				BuildArgs: map[string]string{name: value}, BuildPlatform: oci.Platform{OS: "linux", Architecture: "amd64"},
				Resolve: func(_ context.Context, name string, _ oci.Platform) (*plan.Image, error) {
					c, ok := images()[name]
					if !ok {
						c = images()["alpine"]
					}
					return &plan.Image{Name: name, Config: c}, nil
				},
			}
			if p, err = file.Plan(context.Background(), o); err == nil {
				checkPlan(t, p)
			}
		}
		if err != nil {
			checkError(t, err, strings.Count(text, "\n")+1)
		}
		if spent := time.Since(began); spent > 20*time.Second {
			t.Errorf("took %v", spent)
		}
	})
}

func checkError(t *testing.T, err error, lines int) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if e.Line < 0 || e.Line > lines || e.EndLine > lines+1 || e.Column < 0 {
		t.Errorf("%v: at %d-%d of %d lines", err, e.Line, e.EndLine, lines)
	}
	if errdefs.KindOf(err) == errdefs.Internal {
		t.Errorf("no kind: %v", err)
	}
	for _, r := range e.Excerpt() {
		if r < ' ' && r != '\n' && r != '\t' {
			t.Errorf("the excerpt has a control letter: %q", e.Excerpt())
			break
		}
	}
}

func checkPlan(t *testing.T, p *plan.Plan) {
	known := map[*plan.Stage]bool{}
	source := func(s plan.Source) {
		if s.Stage != nil && !known[s.Stage] {
			t.Errorf("a source is stage %s, which comes later or not at all", s.Stage.Name)
		}
	}
	for _, s := range p.Stages {
		if s.Base.Stage != nil && !known[s.Base.Stage] {
			t.Errorf("the base of stage %s is missing", s.Name)
		}
		for _, st := range s.Steps {
			if st.Op == nil != st.History.EmptyLayer || st.Line < 1 || st.EndLine < st.Line {
				t.Errorf("step %+v", st)
			}
			switch op := st.Op.(type) {
			case *plan.Run:
				if len(op.Args) == 0 || !strings.HasPrefix(op.Dir, "/") {
					t.Errorf("run %+v", op)
				}
				for _, m := range op.Mounts {
					source(m.From)
					if m.Target != "" && !strings.HasPrefix(m.Target, "/") || m.Target == "" && m.Env == "" {
						t.Errorf("mount %+v", m)
					}
				}
			case *plan.Copy:
				source(op.From)
				if !strings.HasPrefix(op.Dest, "/") || len(op.Paths)+len(op.Files)+len(op.Remote) == 0 {
					t.Errorf("copy %+v", op)
				}
				for _, path := range op.Paths {
					if !strings.HasPrefix(path, "/") || strings.Contains(path, "/../") {
						t.Errorf("copy from %q", path)
					}
				}
			case *plan.MakeDir:
				if !strings.HasPrefix(op.Path, "/") {
					t.Errorf("directory %q", op.Path)
				}
			}
		}
		known[s] = true
	}
}

// Texts that would make a reader without bounds use all memory or time.
func TestHostileTexts(t *testing.T) {
	for name, text := range map[string]string{
		"doubling":       "FROM scratch\nENV A=" + strings.Repeat("x", 100) + strings.Repeat("\nENV A=$A$A", 60),
		"wide":           "FROM scratch\nENV A=" + strings.Repeat("x", 60_000) + strings.Repeat("\nLABEL a="+strings.Repeat("$A", 17), 1000),
		"replace":        "FROM scratch\nENV A=" + strings.Repeat("x", 60_000) + "\nENV B=${A//x/$A}",
		"replace-nested": "FROM scratch\nENV A=" + strings.Repeat("x", 1000) + "\nLABEL b=${A//x/${A//x/${A//x/$A}}}",
		"pattern":        "FROM scratch\nENV A=" + strings.Repeat("x", 60_000) + "\nLABEL b=${A##" + strings.Repeat("*", 60_000) + "y}",
		"ports":          "FROM scratch" + strings.Repeat("\nEXPOSE 1-65535 1-65535/udp", 3000),
		"env":            "FROM scratch" + numbered("\nENV A%d=1", 9000),
		"labels":         "FROM scratch" + numbered("\nLABEL A%d=1", 9000),
		"args":           "FROM scratch" + numbered("\nARG A%d=1\nRUN x", 4000),
		"stages":         "FROM scratch AS s0" + numbered("\nFROM s%d AS t", 1) + strings.Repeat("\nFROM scratch", 9000),
		"nested":         "FROM scratch\nLABEL a=" + strings.Repeat("${a:-", 900) + strings.Repeat("}", 900),
		"heredoc":        "FROM scratch\nCOPY <<E /a\n" + strings.Repeat("${a:-", 200_000) + "\nE\n",
		"mounts":         "FROM scratch\nRUN " + strings.Repeat("--mount=type=tmpfs,target=/a ", 2000) + "x",
		"unknown":        "FROM scratch\n" + strings.Repeat("A", 60_000) + " b",
		"variables":      "FROM scratch\nENV A=1\nLABEL " + numbered("a%d=$B"+strings.Repeat("c", 50)+"%[1]d ", 500),
		"copies":         "FROM scratch AS a" + numbered("\nFROM scratch AS b%d\nCOPY --from=a / /", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			p, err := makePlan(text, testOptions())
			if err != nil {
				checkError(t, err, strings.Count(text, "\n")+1)
			} else {
				checkPlan(t, p)
			}
			if spent := time.Since(began); spent > 20*time.Second {
				t.Errorf("took %v (%v)", spent, err)
			}
		})
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
