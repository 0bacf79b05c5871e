package dockerfile

import (
	"context"
	"errors"
	"strings"

	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// resolve finds all images that the target needs. A base image may bring
// instructions of its own (ONBUILD), which may need further stages and images,
// so this goes round until nothing is missing.
func (t *translation) resolve(ctx context.Context, target *stage) (map[*stage]bool, error) {
	for {
		needed := t.needed(target)
		if err := t.ask(ctx, t.missing(needed)); err != nil {
			return nil, err
		}
		grown := false
		for _, s := range t.stages {
			if !needed[s] || s.triggered {
				continue
			}
			s.triggered = true
			added, err := t.addTriggers(s)
			if err != nil {
				return nil, t.file.at(err, s.Location)
			}
			grown = grown || added
		}
		if !grown {
			return needed, nil
		}
		if err := t.refuseCycles(); err != nil {
			return nil, err
		}
	}
}

func (t *translation) needed(target *stage) map[*stage]bool {
	if !t.all {
		return reachable(target)
	}
	all := map[*stage]bool{}
	for _, s := range t.stages {
		all[s] = true
	}
	return all
}

// triggers are what the base of s left to be done by whoever builds on it.
func (s *stage) triggers() (list []string) {
	switch {
	case s.from.stage != nil:
		for _, c := range s.from.stage.commands {
			if on, ok := c.Command.(*instructions.OnbuildCommand); ok {
				list = append(list, on.Expression)
			}
		}
	case s.from.outside.image != nil:
		list = s.from.outside.image.Config.Config.OnBuild
	}
	return list
}

// addTriggers puts the base's triggers in front of the instructions of s. It
// reports whether there is a source among them that nobody had asked for.
func (t *translation) addTriggers(s *stage) (sources bool, err error) {
	var list []command
	for _, text := range s.triggers() {
		c, err := t.trigger(s, text)
		if err != nil {
			return false, errdefs.New(errdefs.InvalidArgument, "cannot carry out the base's trigger ONBUILD %s: %w", oneLine(text), withKind(err, "")).
				WithHint("the text comes from the base image: docker image inspect shows it as OnBuild")
		}
		sources = sources || len(c.sources) > 0
		list = append(list, c)
	}
	s.commands = append(list, s.commands...)
	return sources, nil
}

func (t *translation) trigger(s *stage, text string) (command, error) {
	if len(text) > maxText {
		return command{}, errdefs.New(errdefs.Exhausted, "it has %d bytes", len(text))
	}
	if _, err := checkNesting(text); err != nil {
		return command{}, err
	}
	tree, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return command{}, err
	}
	if len(tree.AST.Children) != 1 {
		return command{}, errors.New("a trigger is one instruction")
	}
	node := tree.AST.Children[0]
	node.StartLine, node.EndLine = firstLine(s.Location), lastLine(s.Location)
	in, err := instructions.ParseInstructionWithLinter(node, silent())
	if err != nil {
		return command{}, err
	}
	ic, ok := in.(instructions.Command)
	if !ok {
		return command{}, errors.New("FROM is no trigger")
	}
	c := command{Command: ic, onbuild: true}
	return c, t.bind(&c)
}

// oneLine is a trigger for an error message.
func oneLine(text string) string {
	if r := []rune(text); len(r) > 100 {
		text = string(r[:100]) + "..."
	}
	return printable(strings.ReplaceAll(text, "\n", " "))
}

func isCancel(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
