package copy

import (
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"berth/internal/errdefs"
)

// excluding is the filter of --exclude: patterns in the syntax of .dockerignore,
// relative to each source. It is nil without patterns.
func excluding(patterns []string) (filter, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "--exclude: %w", err)
	}
	return func(rel string, _ bool) (bool, bool) {
		excluded, err := m.MatchesOrParentMatches(rel)
		excluded = excluded && err == nil // patterns were checked by New
		return !excluded, !excluded || m.Exclusions()
	}, nil
}

// including is the filter of --parents: what pattern matches, with all below it.
func including(pattern string) (filter, error) {
	if pattern == "" {
		return nil, nil // the pivot's directory itself
	}
	m, err := patternmatcher.New([]string{pattern})
	if err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "%q: %w", pattern, err)
	}
	elements := strings.Split(pattern, "/")
	return func(rel string, _ bool) (bool, bool) {
		included, err := m.MatchesOrParentMatches(rel)
		included = included && err == nil
		return included, included || mayHold(elements, rel)
	}, nil
}

// mayHold reports whether something below the directory rel may match the
// pattern of the given elements: else a context need not be read in full to find
// one file in it.
func mayHold(pattern []string, rel string) bool {
	for name := range strings.SplitSeq(rel, "/") {
		if len(pattern) == 0 {
			return false
		}
		if strings.Contains(pattern[0], "**") {
			return true
		}
		if ok, err := path.Match(pattern[0], name); err == nil && !ok {
			return false
		}
		pattern = pattern[1:]
	}
	return len(pattern) > 0
}
