package ignore

import (
	"errors"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"berth/internal/errdefs"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		rules         string
		ignored, kept string // paths, divided by blanks
	}{
		{"", "", "a .dockerignore a/b"},
		{"a", "a a/b a/b/c", "b ab b/a"},
		{"/a", "a a/b", "b/a"},
		{"./a/", "a a/b", "b/a"},
		{"a/../b", "b b/c", "a"},
		{"*.md", "x.md .md", "d/x.md x.mdx"},
		{"*/*.md", "d/x.md", "x.md d/e/x.md"},
		{"**/*.md", "x.md d/x.md d/e/x.md", "x.mdx"},
		{"**", "a a/b", ""},
		{"*", "a a/b .a", ""},
		{"a/**", "a/b a/b/c", "a b"},
		{"**/a", "a b/a b/c/a b/a/c", "ab ba"},
		{"a/**/b", "a/b a/c/b a/c/d/b", "a b a/c"},
		{"?.go", "a.go", "ab.go .go"},
		{"[a-c]x", "ax cx/y", "dx x"},
		{"[^a]x", "bx", "ax"},
		{`a\*b`, "a*b", "axb"},
		{"*\n!a", "b c/d", "a a/b"},
		{"*\n!a/b", "a a/c b", "a/b a/b/c"},
		{"*\n!*.md\nsecret.md", "secret.md a", "b.md"},
		{"!a\n*", "a b", ""},
		{"a\n!a/b\na/b/c", "a a/x a/b/c a/b/c/d", "a/b a/b/d"},
		{"node_modules\n!node_modules/keep/**", "node_modules node_modules/x", "node_modules/keep/y"},
		{"**/*.log\n!**/important.log", "a.log d/b.log", "important.log d/important.log"},
		{"# comment\n#a\n\n  b  \r\n\t!b/c\r\n", "b b/d", "#a a b/c"},
		{"\ufeffa", "a", "b"},
		{"!!a\n", "", "a !a"},
		{"\\!a", "!a", "a"},
		{"/", "", "a"},
		{".", "", "a"},
		{"d/f\n!d", "d/f", "d d/g"}, // Docker's reading: a file by name stays out
		{"ü*", "ü über", "u"},
	} {
		m, err := Parse(DefaultName, []byte(c.rules))
		if err != nil {
			t.Errorf("%q: %v", c.rules, err)
			continue
		}
		for p := range strings.FieldsSeq(c.ignored) {
			if !m.Ignored(p) {
				t.Errorf("%q keeps %s", c.rules, p)
			}
		}
		for p := range strings.FieldsSeq(c.kept) {
			if m.Ignored(p) {
				t.Errorf("%q ignores %s", c.rules, p)
			}
		}
	}
	m, err := New([]string{"a b"})
	if err != nil || !m.Ignored("a b") || m.Ignored("a") {
		t.Errorf("a name with a blank: %v", err)
	}
	for _, root := range []string{"", "."} {
		if all, _ := New([]string{"**"}); all.Ignored(root) {
			t.Errorf("the context itself (%q) is ignored", root)
		}
	}
}

func TestSkipDir(t *testing.T) {
	for _, c := range []struct {
		rules      string
		skip, read string
	}{
		{"node_modules", "node_modules node_modules/a", "src"},
		{"*\n!src", "docs a/b", "src src/a"},
		{"*\n!src/main/*.go", "docs src/test", "src src/main"},
		{"*\n!**/*.go", "", "docs a/b/c"},
		{"*\n!a*/keep", "b", "abc a"},
		{"*\n![ab]/keep", "", "a c"},
		{"a\n!a", "", "a"},
		{"a/b\n!a/b/c/d", "a/b/x a/b/c/x", "a a/b a/b/c"},
		{"**/tmp\n!keep", "tmp a/tmp", "keep a"},
	} {
		m, err := Parse("", []byte(c.rules))
		if err != nil {
			t.Fatal(err)
		}
		for p := range strings.FieldsSeq(c.skip) {
			if _, skip := m.Match(p, true); !skip {
				t.Errorf("%q: %s need not be read", c.rules, p)
			}
			if _, skip := m.Match(p, false); skip {
				t.Errorf("%q: %s is a file", c.rules, p)
			}
		}
		for p := range strings.FieldsSeq(c.read) {
			if _, skip := m.Match(p, true); skip {
				t.Errorf("%q: %s has to be read", c.rules, p)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a\n!\n":                             "rules:2: nothing stands after !",
		"a\n\n#\n[\n":                        `rules:4: invalid pattern "["`,
		"[z-a]":                              `rules:1: invalid pattern "[z-a]"`,
		"a\\":                                `rules:1: invalid pattern "a\\"`,
		"\n" + strings.Repeat("x", 5000):     "rules:2: a pattern of 5000 bytes",
		strings.Repeat("a\n", maxRules+1):    "rules:10001: more than 10000 rules",
		strings.Repeat("#comment\n", 130000): "rules has 1170000 bytes",
	} {
		_, err := Parse("rules", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) || errdefs.HintOf(err) == "" || errdefs.KindOf(err) == errdefs.Internal {
			t.Errorf("%.20q: %v (%v, hint %q), want %q", text, err, errdefs.KindOf(err), errdefs.HintOf(err), want)
		}
	}
	if _, err := New([]string{"a", "["}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestNilMatcherIgnoresNothing(t *testing.T) {
	m, err := Parse("", []byte("# only a comment\n"))
	if m != nil || err != nil {
		t.Errorf("no rules: %v, %v", m, err)
	}
	if m.Ignored("a") {
		t.Error("a nil matcher ignores")
	}
}

func TestNames(t *testing.T) {
	if got := Names("build/App.Dockerfile"); got[0] != "build/App.Dockerfile.dockerignore" || got[1] != ".dockerignore" || len(got) != 2 {
		t.Errorf("%q", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	m, err := New([]string{"**/*.log", "!keep/**", "a/b"})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for _, p := range []string{"a/b/c", "keep/x.log", "d/x.log", "d/e/f"} {
				if got, want := m.Ignored(p), p == "a/b/c" || p == "d/x.log"; got != want {
					t.Errorf("%s: %v", p, got)
				}
			}
		})
	}
	all.Wait()
}

// paths are walked as a tree: directories before what they hold.
var paths = []string{
	"a", "a/a", "a/b", "a/b/a", "a/b/c", "a/b/c/d", "a/c.md", "b", "b/a", "b/a/b", "b/x.md", "c.md", "keep", "keep/a", "keep/a/c.md", "!a", "a*b", "[x]",
}

// FuzzMatch compares with the library as Docker walks with it, and checks that
// nothing below a directory that need not be read is kept.
func FuzzMatch(f *testing.F) {
	for _, rules := range []string{"*\n!a/b\n", "**/*.md\n!keep", "a/b/c\n!a", "a\n!a/b\na/b/c", "!a\n*\n!b/a", "[a-c]\n!?/a", `a\*b`, "a/**\n!**/c", "\xff\n[^a]*"} {
		f.Add(rules, "a/b/c.md")
	}
	f.Fuzz(func(t *testing.T, rules, extra string) {
		m, err := Parse("rules", []byte(rules))
		if err != nil {
			return
		}
		list := paths
		if extra = strings.TrimPrefix(path.Clean("/"+extra), "/"); extra != "" && !strings.Contains(extra, "\x00") {
			for i := range extra {
				if extra[i] == '/' {
					list = append(list[:len(list):len(list)], extra[:i])
				}
			}
			list = append(list[:len(list):len(list)], extra)
		}
		compareWithLibrary(t, m, rules, list)
		for _, dir := range list {
			if _, skip := m.Match(dir, true); !skip {
				continue
			}
			for _, p := range list {
				if strings.HasPrefix(p, dir+"/") && !m.Ignored(p) {
					t.Errorf("%q: %s is kept, but %s would not be read", rules, p, dir)
				}
			}
		}
	})
}

func compareWithLibrary(t *testing.T, m *Matcher, rules string, list []string) {
	if strings.Contains(rules, "/!") {
		return // Docker cuts the slash and then takes "/!a" for "!a"
	}
	patterns, err := ignorefile.ReadAll(strings.NewReader(rules))
	if err != nil {
		return
	}
	lib, err := patternmatcher.New(patterns)
	if err != nil {
		return
	}
	infos := map[string]patternmatcher.MatchInfo{}
	for _, p := range list {
		want, info, err := lib.MatchesUsingParentResults(p, infos[path.Dir(p)])
		if err != nil {
			return // it refuses a pattern when it is used
		}
		infos[p] = info
		if got := m.Ignored(p); got != want {
			t.Errorf("%q: %s: want %v, got %v", rules, p, want, got)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	m, err := New([]string{"node_modules", "**/*.log", "!keep", "dist/**", "*.tmp"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Match("src/components/button/index.ts", false)
	}
}
