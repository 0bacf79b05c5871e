package dockerfile

import (
	"strconv"
	"strings"
	"time"

	"berth/internal/errdefs"
	"berth/internal/reference"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// epochArg makes builds reproducible: seconds since 1970 that all times in the
// image become (https://reproducible-builds.org/specs/source-date-epoch/).
const epochArg = "SOURCE_DATE_EPOCH"

// argument is an ARG in scope.
type argument struct {
	name  string
	value *string // nil: declared without a value
}

// globalArgs fills in the ARGs before the first FROM. FROM sees them; a stage
// only those that it declares once more.
func (t *translation) globalArgs(args []instructions.ArgCommand, stages []instructions.Stage) error {
	target := t.set.Target
	if target == "" {
		target = stages[len(stages)-1].Name
	}
	if target == "" {
		target = "default"
	}
	t.checkDefaults(args, stages, target)
	t.global = platformArgs(t.set, target)
	for _, in := range args {
		for _, a := range in.Args {
			t.declared[a.Key] = true
			if err := t.setGlobal(t.global, a, t.set.BuildArgs); err != nil {
				return t.file.at(err, in.Location())
			}
			t.noteOuter(a, in.Location())
		}
	}
	return t.readEpoch()
}

func (t *translation) setGlobal(v *variables, a instructions.KeyValuePairOptional, given map[string]string) error {
	value := a.Value
	if g, ok := given[a.Key]; ok {
		value = &g
	} else if value != nil {
		res, err := t.expand.word(*value, v)
		if err != nil {
			return err
		}
		value = &res.Result
	}
	if value == nil {
		return nil
	}
	if err := checkVariable(a.Key, *value); err != nil {
		return pointed(a.Key, err)
	}
	v.set(a.Key, *value)
	return nil
}

// checkDefaults remarks a FROM that works only with build arguments.
func (t *translation) checkDefaults(args []instructions.ArgCommand, stages []instructions.Stage, target string) {
	v := platformArgs(t.set, target)
	for _, in := range args {
		for _, a := range in.Args {
			if t.setGlobal(v, a, nil) != nil {
				return // the error will be told
			}
		}
	}
	for _, s := range stages {
		name, err := t.expand.word(s.BaseName, v)
		if err != nil {
			return
		}
		if _, err := reference.Parse(name.Result); err != nil {
			t.lint().Run(&linter.RuleInvalidDefaultArgInFrom, s.Location, linter.RuleInvalidDefaultArgInFrom.Format(s.BaseName))
		}
	}
}

// readEpoch reads SOURCE_DATE_EPOCH, a build argument or a global ARG.
func (t *translation) readEpoch() error {
	text, ok := t.set.BuildArgs[epochArg]
	if !ok {
		text, _ = t.global.Get(epochArg)
	}
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<37 {
		return &Error{File: t.file.Name, Err: errdefs.New(errdefs.InvalidArgument, "invalid %s: %.60q", epochArg, text).
			WithHint("give seconds since 1970, as --build-arg %s=$(git log -1 --format=%%ct)", epochArg)}
	}
	at := time.Unix(n, 0).UTC()
	t.set.epoch = &at
	return nil
}

// declare notes the ARGs of a stage, needed or not.
func (t *translation) declare(list []instructions.Command) {
	for _, c := range list {
		if in, ok := c.(*instructions.ArgCommand); ok {
			for _, a := range in.Args {
				t.declared[a.Key] = true
			}
		}
	}
}

// arg carries out ARG in a stage: the value is the build argument's, else the
// default, else the global ARG's of that name.
func (e *evaluation) arg(in *instructions.ArgCommand) error {
	var said []string
	for _, a := range in.Args {
		checkSecret("ARG", a.Key, in.Location(), e.lint)
		e.t.declared[a.Key] = true
		value := a.Value
		if given, ok := e.t.set.BuildArgs[a.Key]; ok {
			value = &given
		} else if value != nil {
			v, err := e.fill(*value)
			if err != nil {
				return err
			}
			value = &v
		} else if v, ok := e.t.global.Get(a.Key); ok {
			value = &v
		}
		text := a.Key
		if value != nil {
			if err := checkVariable(a.Key, *value); err != nil {
				return pointed(a.Key, err)
			}
			text += "=" + *value
			if !strings.HasPrefix(a.Key, "BUILDKIT_SBOM_SCAN_") { // these steer the build and are no variables
				e.vars.set(a.Key, *value)
			}
		}
		e.s.args = append(e.s.args, argument{a.Key, value})
		e.noteArg(a, value)
		said = append(said, text)
	}
	return e.step(nil, "ARG "+strings.Join(said, " "))
}

// remarkUndeclared remarks variables in FROM that nothing declares.
func (t *translation) remarkUndeclared(unset map[string]struct{}, where []parser.Range, lint *linter.Linter) {
	for _, name := range sortedKeys(unset) {
		if t.declared[name] {
			continue // without a value
		}
		lint.Run(&linter.RuleUndefinedArgInFrom, where, linter.RuleUndefinedArgInFrom.Format(name, nearest(name, t.global.Keys())))
	}
}

// isProxy reports whether name is a variable that programs find a proxy by.
// Build arguments of these names reach every RUN without an ARG.
func isProxy(name string) bool {
	switch strings.ToLower(name) {
	case "http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy":
		return true
	}
	return false
}

// proxies are the proxy variables that were given. Programs do not agree on
// capitals, so both are set.
func (t *translation) proxies() []string {
	v := newVariables()
	for _, name := range sortedKeys(t.set.BuildArgs) {
		if isProxy(name) {
			v.set(strings.ToUpper(name), t.set.BuildArgs[name])
			v.set(strings.ToLower(name), t.set.BuildArgs[name])
		}
	}
	return v.list()
}
