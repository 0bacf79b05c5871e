package ignore

import (
	"path"
	"strings"
	"sync"

	"github.com/moby/patternmatcher"
)

// maxKnown is how many directories are remembered.
const maxKnown = 4096

// Match reports whether rel, a clean path relative to the context, is left out.
// skipDir says of a directory that nothing below it can be taken back, so that
// it need not be read. The context itself ("" or ".") is never left out.
func (m *Matcher) Match(rel string, isDir bool) (ignored, skipDir bool) {
	if m == nil || rel == "" || rel == "." {
		return false, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	matched := m.matches(rel, m.directory(path.Dir(rel)))
	for i, r := range m.rules {
		if matched[i] {
			ignored = !r.takeBack
		}
	}
	return ignored, isDir && ignored && !m.mayTakeBackBelow(rel)
}

// Ignored reports whether rel is left out.
func (m *Matcher) Ignored(rel string) bool {
	ignored, _ := m.Match(rel, false)
	return ignored
}

// directory returns which rules match dir or a directory above it.
func (m *Matcher) directory(dir string) []bool {
	if dir == "." || dir == "/" {
		return nil
	}
	if known, ok := m.known[dir]; ok {
		return known
	}
	matched := m.matches(dir, m.directory(path.Dir(dir)))
	if len(m.known) >= maxKnown {
		clear(m.known)
	}
	m.known[dir] = matched
	return matched
}

// matches returns which rules match rel, given those that match its directory.
// A rule that could change nothing is not asked and counts as no match: that is
// Docker's reading, and it shows where a file is named before its directory is
// taken back.
func (m *Matcher) matches(rel string, above []bool) []bool {
	matched := make([]bool, len(m.rules))
	ignored := false
	for i, r := range m.rules {
		switch {
		case above != nil && above[i]:
			matched[i] = true
		case r.takeBack == ignored:
			matched[i] = r.matches(rel)
		}
		if matched[i] {
			ignored = !r.takeBack
		}
	}
	return matched
}

// matches reports whether the rule matches rel itself, whatever it does to the
// directories above.
func (r rule) matches(rel string) bool {
	ok, _, err := r.match.MatchesUsingParentResults(rel, aboveUnmatched())
	return ok && err == nil
}

// aboveUnmatched tells the library, for a single pattern, that no parent
// matches. It lets nobody write that down, but returns it for a rule that it
// had no reason to ask.
var aboveUnmatched = sync.OnceValue(func() patternmatcher.MatchInfo {
	m, err := patternmatcher.New([]string{"!x"})
	if err != nil {
		panic(err) // a constant
	}
	_, info, err := m.MatchesUsingParentResults("x", patternmatcher.MatchInfo{})
	if err != nil {
		panic(err)
	}
	return info
})

// mayTakeBackBelow reports whether a rule with ! may match something below dir.
func (m *Matcher) mayTakeBackBelow(dir string) bool {
	if !m.takesBack {
		return false
	}
	for _, r := range m.rules {
		if r.takeBack && mayMatchBelow(r.pattern, dir) {
			return true
		}
	}
	return false
}

// mayMatchBelow compares a pattern with a directory, name by name. Where the
// pattern could match a slash it says yes.
func mayMatchBelow(pattern, dir string) bool {
	for dir != "" {
		var p, d string
		p, pattern, _ = strings.Cut(pattern, "/")
		if strings.Contains(p, "**") || strings.ContainsAny(p, `[\`) {
			return true
		}
		d, dir, _ = strings.Cut(dir, "/")
		if ok, err := path.Match(p, d); err == nil && !ok {
			return false
		}
	}
	return pattern != ""
}
