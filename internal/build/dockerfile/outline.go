package dockerfile

import (
	"cmp"
	"slices"

	"berth/internal/build/plan"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// outerArg is an ARG before the first FROM.
type outerArg struct {
	plan.Arg
	needs map[string]struct{} // the names with values in its default
}

// noteOuter notes a global ARG, whose value has been set.
func (t *translation) noteOuter(a instructions.KeyValuePairOptional, where []parser.Range) {
	value, _ := t.global.Get(a.Key)
	o := &outerArg{Arg: plan.Arg{Name: a.Key, Value: value, Text: a.DocComment, Line: firstLine(where)}}
	if _, given := t.set.BuildArgs[a.Key]; a.Value != nil && !given {
		if res, err := t.expand.word(*a.Value, t.global); err == nil {
			o.needs = res.Matched
		}
	}
	t.outer[a.Key] = o
}

// take notes that the stage depends on variables.
func (s *stage) take(names map[string]struct{}) {
	for name := range names {
		s.takes[name] = true
	}
}

// noteArg notes an ARG of a stage. One without a default and without a given
// value is the global one of that name.
func (e *evaluation) noteArg(a instructions.KeyValuePairOptional, value *string) {
	e.s.takes[a.Key] = true
	_, given := e.t.set.BuildArgs[a.Key]
	if _, outer := e.t.global.Get(a.Key); a.Value == nil && !given && outer {
		return
	}
	own := plan.Arg{Name: a.Key, Text: a.DocComment, Line: firstLine(e.now.Location())}
	if value != nil {
		own.Value = *value
	}
	e.s.declares = append(e.s.declares, own)
}

// argsOf lists the build arguments that the evaluated stages depend on, each
// name once: what the later stage says of it counts.
func (t *translation) argsOf() []plan.Arg {
	var all []plan.Arg
	seen := map[string]bool{}
	add := func(a plan.Arg) {
		if !seen[a.Name] {
			seen[a.Name] = true
			all = append(all, a)
		}
	}
	var outer func(name string)
	outer = func(name string) {
		o := t.outer[name]
		if o == nil || seen[name] {
			return
		}
		add(o.Arg)
		for n := range o.needs {
			outer(n)
		}
	}
	for _, s := range slices.Backward(t.stages) {
		if s.out == nil {
			continue
		}
		for _, a := range slices.Backward(s.declares) {
			add(a)
		}
		for _, name := range sortedKeys(s.takes) {
			outer(name)
		}
	}
	slices.SortStableFunc(all, func(a, b plan.Arg) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Name, b.Name)) })
	return all
}
