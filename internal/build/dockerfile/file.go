package dockerfile

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// File is a Dockerfile whose every line has been read. It holds no values of
// variables: those are a build's. It is never changed, so several goroutines
// may make plans of it.
type File struct {
	Name string // as errors show it

	lines  []string
	tree   *parser.Result
	stages []StageName
	checks string // "# check="
	// syntax is the front end of "# syntax=", or "".
	syntax string
}

// StageName is one FROM, for `build --call=targets` and completion.
type StageName struct {
	Name string // "" if it has none
	Base string // as it was written
	Line int
	// Comment describes the stage: the line "# NAME text" above FROM.
	Comment string
}

// Parse reads a Dockerfile. name is for errors only.
func Parse(name string, text []byte) (*File, error) {
	f := &File{Name: name}
	if len(text) > maxText {
		return nil, &Error{File: name, Err: errdefs.New(errdefs.Exhausted, "the Dockerfile has %d bytes, at most %d are read", len(text), maxText).
			WithHint("is it a Dockerfile? name another with -f")}
	}
	f.lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, &Error{File: name, Err: errdefs.New(errdefs.InvalidArgument, "the Dockerfile is empty").
			WithHint("a Dockerfile begins with FROM, as in: FROM debian:12")}
	}
	if line, err := checkNesting(string(text)); err != nil {
		return nil, f.at(err, lines(line, line))
	}
	if frontend, _, where, ok := parser.DetectSyntax(text); ok {
		if err := checkSyntax(frontend); err != nil {
			return nil, f.at(pointed(frontend, err), where)
		}
		f.syntax = frontend
	}
	var where []parser.Range
	f.checks, _, where, _ = parser.ParseDirective("check", text)
	if _, err := linter.ParseLintOptions(f.checks); err != nil {
		return nil, f.at(err, where)
	}
	var err error
	if f.tree, err = parser.Parse(bytes.NewReader(text)); err != nil {
		return nil, f.at(afterLine(err), nil)
	}
	if n := len(f.tree.AST.Children); n > maxInstructions {
		return nil, f.at(errdefs.New(errdefs.Exhausted, "the Dockerfile has %d instructions, at most %d are read", n, maxInstructions).
			WithHint("put them into scripts and RUN those"), nil)
	}
	for _, n := range f.tree.AST.Children {
		if !utf8.ValidString(n.Original) {
			return nil, f.at(errNotUTF8(), lines(n.StartLine, n.EndLine))
		}
	}
	stages, _, err := f.instructions(silent())
	if err != nil {
		return nil, err
	}
	for _, s := range stages {
		f.stages = append(f.stages, StageName{Name: s.Name, Base: s.BaseName, Line: firstLine(s.Location), Comment: s.DocComment})
	}
	return f, nil
}

// Stages lists the stages in the order of the text.
func (f *File) Stages() []StageName { return f.stages }

// instructions reads the tree once more: filling in variables changes
// instructions, so every plan needs its own.
func (f *File) instructions(lint *linter.Linter) ([]instructions.Stage, []instructions.ArgCommand, error) {
	stages, args, err := instructions.Parse(f.tree.AST, lint)
	if err != nil {
		return nil, nil, f.at(err, nil)
	}
	if len(stages) == 0 {
		return nil, nil, f.at(errdefs.New(errdefs.InvalidArgument, "the Dockerfile has no stage").
			WithHint("a Dockerfile begins with FROM, as in: FROM debian:12"), nil)
	}
	return stages, args, nil
}

// afterLine corrects the place of errors that the library notices before it
// counts the line.
func afterLine(err error) error {
	text := err.Error()
	l, ok := errors.AsType[*parser.LocationError](err)
	if !ok || !strings.Contains(text, "escape token") && !strings.Contains(text, "parser directive can") && !strings.Contains(text, "max allowed size") {
		return err
	}
	line := firstLine(slices.Concat(l.Locations...)) + 1
	return parser.SetLocation(err, lines(line, line))
}

// lines returns the range from the line first to last.
func lines(first, last int) []parser.Range {
	return []parser.Range{{Start: parser.Position{Line: first}, End: parser.Position{Line: last}}}
}

// firstLine returns the line where a range begins, 0 if it is nowhere.
func firstLine(where []parser.Range) int {
	first := 0
	for _, r := range where {
		if first == 0 || r.Start.Line < first {
			first = r.Start.Line
		}
	}
	return first
}

// lastLine returns the line where a range ends.
func lastLine(where []parser.Range) int {
	last := 0
	for _, r := range where {
		last = max(last, r.End.Line)
	}
	return last
}
