package engine

import (
	"regexp"
	"testing"
)

// TestPattern compares with package regexp, which Docker uses.
func TestPattern(t *testing.T) {
	names := []string{"", "web", "web1", "web-10", "/web", "db", "my_web", "Web", "a.b", "aXb", "webweb", "é", "x]"}
	for _, expr := range []string{
		"", "web", "^web$", "^/?web$", "web.*", "^web[0-9]+$", "web|db", "^(web|db)$", "(we)?b", "^.$", "a\\.b", "a.b", "[^a-z]", "[a-]", "[]x]", "x\\]",
		"(web)*$", "(web)+$", "^(a|b|.)*$", "w.?b", "()", "(|a)b", "^$", "é", "(a*)*b", "(a?)+", "^(^web)", "web$|^a", "(w(e(b)))",
	} {
		re := regexp.MustCompile(expr)
		p := compilePattern(expr)
		if p.alts == nil {
			t.Errorf("%q is not understood", expr)
		}
		for _, name := range names {
			if got, want := p.find(name), re.MatchString(name); got != want {
				t.Errorf("%q on %q: %v", expr, name, got)
			}
		}
	}
}

// TestPatternNotUnderstood: what is no expression, or more of one than is
// known here, matches only itself.
func TestPatternNotUnderstood(t *testing.T) {
	for _, expr := range []string{"(", ")", "a)", "[", "[a", "[z-a]", "*", "a**", "^*", "a{2}", "\\d", "\\", "(?i)web", "[\\"} {
		p := compilePattern(expr)
		if !p.find(expr) || p.find("aa 11 WEB web") {
			t.Errorf("%q matches the wrong things", expr)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("^(web|db)-[0-9]+$", "web-10")
	f.Add("(a*)*b", "aaaaaaaaaaaa")
	f.Add("[^\\]x-]?.", "é")
	f.Fuzz(func(t *testing.T, expr, name string) {
		if len(expr) > 10 || len(name) > 10 {
			return // tries of nested repetition multiply
		}
		p := compilePattern(expr)
		if p.alts == nil || name == expr {
			p.find(name)
			return
		}
		re, err := regexp.Compile(expr)
		if err != nil {
			return // this syntax is a little more tolerant
		}
		if got, want := p.find(name), re.MatchString(name); got != want {
			t.Errorf("%q on %q: %v, want %v", expr, name, got, want)
		}
	})
}
