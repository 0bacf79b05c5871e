// Package ignore decides which files of a build context a build does not see.
//
// Beside a Dockerfile may stand a file of rules, one for each line: a path of
// the context, where * is any part of a name, ? one letter, [a-z] one of a set,
// and ** any number of directories. A rule leaves out what it matches and
// everything below; a rule with ! in front takes back what earlier rules left
// out. The last rule that matches decides. Lines that begin with # are comments.
// See https://docs.docker.com/build/concepts/context/#dockerignore-files. What a
// single rule matches is decided by the library that Docker uses
// (moby/patternmatcher); how rules follow each other is Docker's too: a
// directory that was left out takes its files with it, unless a rule names them.
//
// build/source asks while it walks, so the answer says also whether a directory
// need not be read at all. With rules like "node_modules" that is where the time goes.
package ignore

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"sync"

	"berth/internal/errdefs"

	"github.com/moby/patternmatcher"
)

// DefaultName is the file of rules at the top of a context.
const DefaultName = ".dockerignore"

const (
	maxText    = 1 << 20 // bytes of a file of rules
	maxRules   = 10_000
	maxPattern = 4096 // bytes: no path is longer (PATH_MAX)
)

// Names returns where the rules for a Dockerfile are looked for, in this order:
// beside it under its own name, and at the top of the context.
func Names(dockerfile string) []string { return []string{dockerfile + DefaultName, DefaultName} }

// Matcher is a list of rules. The nil Matcher leaves out nothing. Any number of
// goroutines may use one.
type Matcher struct {
	rules     []rule
	takesBack bool // one of rules begins with !

	mu    sync.Mutex
	known map[string][]bool // by directory: which rules match it or a parent
}

// rule is one line.
type rule struct {
	pattern  string // cleaned, relative
	takeBack bool
	match    *patternmatcher.PatternMatcher
}

// Parse reads a file of rules. Errors are errdefs.InvalidArgument (Exhausted if
// the file is too large) and say "name:line: ...".
func Parse(name string, text []byte) (*Matcher, error) {
	if len(text) > maxText {
		return nil, errdefs.New(errdefs.Exhausted, "%s has %d bytes, at most %d are read", name, len(text), maxText).
			WithHint("one rule with * or ** can replace many names")
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	m := &Matcher{}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if strings.HasPrefix(line, "#") {
			continue
		}
		if err := m.add(line); err != nil {
			return nil, &errdefs.Error{Kind: errdefs.KindOf(err), Err: fmt.Errorf("%s:%d: %w", name, n, err), Hint: errdefs.HintOf(err)}
		}
	}
	return m.done(), nil
}

// New makes a matcher of patterns that come from elsewhere than a file, such
// as COPY --exclude.
func New(patterns []string) (*Matcher, error) {
	m := &Matcher{}
	for _, p := range patterns {
		if err := m.add(p); err != nil {
			return nil, err
		}
	}
	return m.done(), nil
}

func (m *Matcher) done() *Matcher {
	if len(m.rules) == 0 {
		return nil
	}
	m.known = map[string][]bool{}
	return m
}

// add reads one line.
func (m *Matcher) add(line string) error {
	p, takeBack := strings.CutPrefix(strings.TrimSpace(line), "!")
	if p = strings.TrimSpace(p); p == "" {
		if takeBack {
			return errdefs.New(errdefs.InvalidArgument, "nothing stands after !").WithHint("write !PATTERN to take files back")
		}
		return nil
	}
	if len(p) > maxPattern {
		return errdefs.New(errdefs.Exhausted, "a pattern of %d bytes, at most %d are read", len(p), maxPattern).WithHint("write one pattern for each line")
	}
	if len(m.rules) == maxRules {
		return errdefs.New(errdefs.Exhausted, "more than %d rules", maxRules).WithHint("one rule with * or ** can replace many names")
	}
	if p = path.Clean(p); len(p) > 1 {
		p = strings.TrimPrefix(p, "/")
	}
	bad := errdefs.New(errdefs.InvalidArgument, "invalid pattern %q", p).WithHint(`a set is written [abc]; \ takes a letter as it is`)
	if strings.HasPrefix(p, "!") {
		p = `\` + p // a name that begins with !
	}
	match, err := patternmatcher.New([]string{p})
	if err != nil {
		return bad
	}
	// The library compiles a pattern when it is used first, which is neither
	// safe beside others nor a good time to hear of a mistake.
	if _, err := match.MatchesOrParentMatches("x"); err != nil {
		return bad
	}
	m.rules = append(m.rules, rule{pattern: p, takeBack: takeBack, match: match})
	m.takesBack = m.takesBack || takeBack
	return nil
}
