package dockerfile

import (
	"context"
	"slices"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/linter"
)

// translation is the work on one plan.
type translation struct {
	file    *File
	set     *setup
	escape  rune
	expand  *expander
	remarks *remarks
	// all says that every stage is looked at, for Check.
	all bool

	global   *variables // what stands before the first FROM, and the platforms
	outer    map[string]*outerArg
	declared map[string]bool
	stages   []*stage
	byName   map[string]*stage
	outsides map[outsideKey]*outside
}

// Plan fills in everything that the text leaves to a build and returns what has
// to be done for the target. The plan's images are what Options.Resolve
// returned, each once.
func (f *File) Plan(ctx context.Context, o Options) (*plan.Plan, error) {
	t, target, err := f.translate(ctx, o, false)
	if err != nil {
		return nil, err
	}
	if err := t.remarks.verdict(f); err != nil {
		return nil, err
	}
	return t.plan(target), nil
}

// Check returns what the linter remarks in all stages, or only in those that
// the target needs if one is named (build --check). Images are resolved: what
// they say decides what variables are set.
func (f *File) Check(ctx context.Context, o Options) ([]plan.Warning, error) {
	t, _, err := f.translate(ctx, o, o.Target == "")
	if err != nil {
		return nil, err
	}
	return t.remarks.sorted(), nil
}

// translate goes the whole way from the instructions to the last step.
func (f *File) translate(ctx context.Context, o Options, all bool) (*translation, *stage, error) {
	t := &translation{
		file: f, set: o.setup(), escape: f.tree.EscapeToken, all: all,
		declared: map[string]bool{}, outer: map[string]*outerArg{}, byName: map[string]*stage{}, outsides: map[outsideKey]*outside{},
	}
	t.expand = newExpander(t.escape, t.set.budget)
	if frontend, ok := o.BuildArgs["BUILDKIT_SYNTAX"]; ok {
		if err := checkSyntax(frontend); err != nil {
			return nil, nil, &Error{File: f.Name, Err: err}
		}
	}
	if err := t.begin(); err != nil {
		return nil, nil, err
	}
	target, err := t.findTarget()
	if err != nil {
		return nil, nil, err
	}
	if err := t.bindAll(); err != nil {
		return nil, nil, err
	}
	needed, err := t.resolve(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range t.stages {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if needed[s] {
			if err := t.evaluate(s); err != nil {
				return nil, nil, err
			}
		}
	}
	return t, target, t.finish(target)
}

// begin reads the instructions, the global ARGs and the FROMs.
func (t *translation) begin() error {
	checks := t.file.checks
	if given, ok := t.set.BuildArgs["BUILDKIT_DOCKERFILE_CHECK"]; ok {
		checks = given
	}
	var err error
	if t.remarks, err = newRemarks(checks); err != nil {
		return &Error{File: t.file.Name, Err: err}
	}
	for _, w := range t.file.tree.Warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL {
			t.lint().Run(&linter.RuleNoEmptyContinuation, lines(w.Location.Start.Line, w.Location.End.Line), linter.RuleNoEmptyContinuation.Format())
		}
	}
	stages, args, err := t.file.instructions(t.lint())
	if err != nil {
		return err
	}
	checkNames(stages, t.lint())
	checkCasing(stages, t.lint())
	if err := t.globalArgs(args, stages); err != nil {
		return err
	}
	if err := t.buildStages(stages); err != nil {
		return err
	}
	for _, s := range stages {
		t.declare(s.Commands)
	}
	return nil
}

func (t *translation) lint() *linter.Linter { return t.remarks.linter }

// finish adds to the target what the user gave besides the text.
func (t *translation) finish(target *stage) error {
	c := &target.out.Config
	labels := c.Config.Labels
	if len(t.set.Labels) > 0 {
		labels = cloneMap(labels)
		for k, v := range t.set.Labels {
			labels[k] = v
		}
		c.Config.Labels = labels
	}
	t.finishPlatform(c)
	return nil
}

// plan gathers what has been made.
func (t *translation) plan(target *stage) *plan.Plan {
	p := &plan.Plan{Platform: t.set.Platform, Warnings: t.remarks.sorted(), UnusedArgs: t.unusedArgs(), Args: t.argsOf(), Epoch: t.set.epoch}
	for _, s := range t.stages {
		if s.out != nil && s != target {
			p.Stages = append(p.Stages, s.out)
		}
	}
	p.Stages = append(p.Stages, target.out)
	if c := target.out.Config; t.set.implicit && c.OS != "" && c.Architecture != "" {
		p.Platform.OS, p.Platform.Architecture, p.Platform.Variant = c.OS, c.Architecture, c.Variant
	}
	return p
}

// unusedArgs are the build arguments that no ARG declares and that mean nothing
// by themselves.
func (t *translation) unusedArgs() (list []string) {
	for name := range t.set.BuildArgs {
		_, platform := t.global.Get(name)
		if !t.declared[name] && !platform && !isProxy(name) && !strings.HasPrefix(name, "BUILDKIT_") && name != epochArg {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// unsupported is the error for what the language has and berth does not.
func unsupported(hint, format string, args ...any) error {
	return errdefs.New(errdefs.Unsupported, format, args...).WithHint("%s", hint)
}
