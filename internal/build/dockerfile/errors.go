package dockerfile

import (
	"errors"
	"fmt"
	"strings"

	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Error is what is wrong in a Dockerfile, and where.
type Error struct {
	File string
	// Line and EndLine are the lines of the instruction, from 1; 0: the file as
	// a whole. Column is where in Line the matter begins, from 1.
	Line, EndLine, Column int
	// Err is what is wrong; its kind and hint are errdefs'.
	Err error

	lines  []string
	marked map[int]bool // by line
}

// Error returns "Dockerfile:3:1: unknown instruction: RNU".
func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
	}
	return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
}

// Unwrap returns what is wrong, without where.
func (e *Error) Unwrap() error { return e.Err }

// Excerpt returns the lines in question and some around them, as buildx prints
// them; "" if the error belongs to no line. The last line ends in "\n".
func (e *Error) Excerpt() string {
	if e.Line == 0 || e.Line > len(e.lines) {
		return ""
	}
	const around, most = 2, 40
	first, last := max(1, e.Line-around), min(len(e.lines), max(e.Line, e.EndLine)+around)
	for l := range e.marked { // a cycle has its lines far apart
		first, last = min(first, max(1, l-around)), max(last, min(len(e.lines), l+around))
	}
	const rule = "--------------------\n"
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d\n%s", e.File, e.Line, rule)
	left := false
	for n, printed := first, 0; n <= last; n++ {
		if !e.near(n, around) || printed == most {
			left = true
			continue
		}
		if left {
			b.WriteString("     |     ...\n")
			left = false
		}
		mark := "   "
		if e.marked[n] {
			mark = ">>>"
		}
		fmt.Fprintf(&b, "%4d | %s %s\n", n, mark, printable(e.lines[n-1]))
		printed++
	}
	if left {
		b.WriteString("     |     ...\n")
	}
	return b.String() + rule
}

// near reports whether a marked line is at most d lines away from n.
func (e *Error) near(n, d int) bool {
	for l := n - d; l <= n+d; l++ {
		if e.marked[l] {
			return true
		}
	}
	return false
}

// printable returns a line without what could steer the terminal, cut if it is very long.
func printable(line string) string {
	const most = 300
	runes := []rune(strings.TrimRight(line, "\r"))
	cut := len(runes) > most
	if cut {
		runes = runes[:most]
	}
	for i, r := range runes {
		if r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			runes[i] = '\uFFFD'
		}
	}
	if cut {
		return string(runes) + " ..."
	}
	return string(runes)
}

// pointer is an error about one word of an instruction.
type pointer struct {
	word string
	err  error
}

func pointed(word string, err error) error { return &pointer{word, err} }

func (p *pointer) Error() string { return p.err.Error() }
func (p *pointer) Unwrap() error { return p.err }

// at returns err as an *Error at the given lines. An error that has a place
// already keeps it.
func (f *File) at(err error, where []parser.Range) error {
	if err == nil {
		return nil
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	e := &Error{File: f.Name, lines: f.lines, marked: map[int]bool{}}
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 && len(located.Locations[0]) > 0 {
		where = located.Locations[0]
	}
	for _, r := range where {
		for l := r.Start.Line; l <= r.End.Line; l++ {
			if l > 0 && l <= len(f.lines) {
				e.marked[l] = true
			}
		}
		if e.Line == 0 || r.Start.Line < e.Line {
			e.Line = r.Start.Line
		}
		e.EndLine = max(e.EndLine, r.End.Line)
	}
	word := ""
	var p *pointer
	if errors.As(err, &p) {
		word, err = p.word, p.err
	}
	instruction := ""
	if e.Line > 0 && e.Line <= len(f.lines) {
		instruction, _, _ = strings.Cut(strings.TrimSpace(f.lines[e.Line-1]), " ")
	}
	e.Err = withKind(err, instruction)
	if e.Line > 0 {
		e.Line, e.Column = f.column(e.Line, e.EndLine, word, e.Err.Error())
	}
	return e
}

// withKind returns err with a kind and hint of errdefs: what the library says
// is about the text, so the argument is invalid.
func withKind(err error, instruction string) error {
	var known *errdefs.Error
	if errors.As(err, &known) {
		return err
	}
	if isCancel(err) {
		return &errdefs.Error{Kind: errdefs.Cancelled, Err: err}
	}
	if located, ok := errors.AsType[*parser.LocationError](err); ok {
		err = located.Unwrap()
	}
	text, _, _ := strings.Cut(err.Error(), " (did you mean ") // it draws lots among equally near words
	e := errdefs.New(errdefs.InvalidArgument, "%s", text)
	if word := meant(text, instruction); word != "" {
		return e.WithHint("did you mean %s?", word)
	}
	if hint := advice(text); hint != "" {
		return e.WithHint("%s", hint)
	}
	return e
}
