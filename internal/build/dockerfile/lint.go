package dockerfile

import (
	"fmt"
	"slices"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// remarks collects what the linter says. Its rules are BuildKit's, so that
// "# check=skip=RULE" and the pages about them mean the same.
type remarks struct {
	list   []plan.Warning
	linter *linter.Linter
}

const maxRemarks = 1000

// silent is a linter that says nothing. A nil one will not do: the library
// follows it when a comment holds a check directive.
func silent() *linter.Linter { return linter.New(&linter.Config{}) }

func newRemarks(checks string) (*remarks, error) {
	config, err := linter.ParseLintOptions(checks)
	if err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "%w", err).WithHint("write skip=RULE,RULE;error=true")
	}
	r := &remarks{}
	config.Warn = func(rule, description, url, detail string, where []parser.Range) {
		w := plan.Warning{Rule: rule, Text: description, Detail: detail, URL: url, Line: firstLine(where)}
		if len(r.list) < maxRemarks && !slices.Contains(r.list, w) {
			r.list = append(r.list, w)
		}
	}
	r.linter = linter.New(config)
	return r, nil
}

// sorted returns the remarks in the order of the lines.
func (r *remarks) sorted() []plan.Warning {
	slices.SortStableFunc(r.list, func(a, b plan.Warning) int { return a.Line - b.Line })
	return r.list
}

// verdict is the error that "# check=error=true" makes of remarks.
func (r *remarks) verdict(f *File) error {
	if !r.linter.ReturnAsError || len(r.list) == 0 {
		return nil
	}
	w := r.sorted()[0]
	detail := w.Rule + ": " + w.Detail
	if n := len(r.list) - 1; n > 0 {
		detail += fmt.Sprintf(" (and %d more)", n)
	}
	err := errdefs.New(errdefs.InvalidArgument, "%s", detail).
		WithHint("change the line, or allow it by # check=skip=%s;error=true in the first line", w.Rule)
	return f.at(err, lines(w.Line, w.Line))
}

// checkNames remarks stages that are named twice or like a keyword.
func checkNames(stages []instructions.Stage, lint *linter.Linter) {
	seen := map[string]bool{}
	for _, s := range stages {
		if s.Name == "context" || s.Name == "scratch" {
			lint.Run(&linter.RuleReservedStageName, s.Location, linter.RuleReservedStageName.Format(s.Name))
		}
		if s.Name != "" && seen[s.Name] {
			lint.Run(&linter.RuleDuplicateStageName, s.Location, linter.RuleDuplicateStageName.Format(s.Name))
		}
		seen[s.Name] = true
	}
}

// checkCasing remarks instructions that are not written like most of them.
func checkCasing(stages []instructions.Stage, lint *linter.Linter) {
	type word struct {
		text  string
		where []parser.Range
	}
	var words []word
	balance := 0 // above zero: more in small letters
	for _, s := range stages {
		words = append(words, word{s.OrigCmd, s.Location})
		for _, c := range s.Commands {
			words = append(words, word{c.Name(), c.Location()})
		}
	}
	for _, w := range words {
		switch w.text {
		case strings.ToLower(w.text):
			balance++
		case strings.ToUpper(w.text):
			balance--
		}
	}
	right, name := strings.ToUpper, "uppercase"
	if balance > 0 {
		right, name = strings.ToLower, "lowercase"
	}
	for _, w := range words {
		if w.text != right(w.text) {
			lint.Run(&linter.RuleConsistentInstructionCasing, w.where, linter.RuleConsistentInstructionCasing.Format(w.text, name))
		}
	}
}

// checkSecret remarks variables that look as if their value should not be in an image.
func checkSecret(instruction, name string, where []parser.Range, lint *linter.Linter) {
	secret := false
	for w := range strings.SplitSeq(strings.ToLower(name), "_") {
		switch w {
		case "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token":
			secret = true
		case "public", "file", "version":
			return
		}
	}
	if secret {
		lint.Run(&linter.RuleSecretsUsedInArgOrEnv, where, linter.RuleSecretsUsedInArgOrEnv.Format(instruction, name))
	}
}
