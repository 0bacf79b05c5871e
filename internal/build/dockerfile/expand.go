package dockerfile

import (
	"strings"
	"unicode/utf8"

	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// expander fills variables into words.
type expander struct {
	lex    *shell.Lex
	budget *budget
}

func newExpander(escape rune, b *budget) *expander {
	return &expander{lex: shell.NewLex(escape), budget: b}
}

// raw fills in variables and leaves quotes alone: the content of a here-document.
func (x *expander) raw() *expander {
	lex := shell.NewLex('\\')
	lex.SkipProcessQuotes = true
	return &expander{lex: lex, budget: x.budget}
}

// shown fills in what is set and leaves all else as it was written: the text
// of a RUN, whose shell will read it once more.
func (x *expander) shown(escape rune) *expander {
	lex := shell.NewLex(escape)
	lex.RawQuotes, lex.RawEscapes, lex.SkipUnsetEnv = true, true, true
	return &expander{lex: lex, budget: x.budget}
}

// word returns word with its variables filled in, and which there were.
func (x *expander) word(word string, env shell.EnvGetter) (shell.ProcessWordResult, error) {
	if !utf8.ValidString(word) {
		return shell.ProcessWordResult{}, errNotUTF8()
	}
	m := &meter{env: env, left: allowance(word)}
	res, err := x.lex.ProcessWordWithMatches(word, m)
	return res, x.settle(m, word, len(res.Result), err)
}

// words returns word with its variables filled in, divided at blanks.
func (x *expander) words(word string, env shell.EnvGetter) ([]string, error) {
	if !utf8.ValidString(word) {
		return nil, errNotUTF8()
	}
	m := &meter{env: env, left: allowance(word)}
	list, err := x.lex.ProcessWords(word, m)
	return list, x.settle(m, word, len(word), err)
}

func (x *expander) settle(m *meter, word string, size int, err error) error {
	if m.over {
		return errdefs.New(errdefs.Exhausted, "the variables of %.60q are too long to be put together", word).
			WithHint("put long values into a file and COPY it")
	}
	if err != nil {
		return pointed(word, refused(plainCause(err)))
	}
	return x.budget.spend(size + m.used)
}

// refused is the lexer's error with a next step. ${NAME?text} is a check that
// the author wrote: its text comes as "NAME: text".
func refused(err error) error {
	text := err.Error()
	if strings.Contains(text, "(\uFFFD)") {
		text = "syntax error: missing '}'" // the lexer shows the end of the word as a letter
	}
	e := errdefs.New(errdefs.InvalidArgument, "%s", text)
	if hint := advice(text); hint != "" {
		return e.WithHint("%s", hint)
	}
	name, _, _ := strings.Cut(text, ":")
	return e.WithHint("give it a value: --build-arg %s=VALUE, with ARG %s above this line", name, name)
}

// plainCause takes off the library's "failed to process WORD: ", for the
// excerpt shows the word.
func plainCause(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		if inner := u.Unwrap(); inner != nil && strings.HasPrefix(err.Error(), "failed to process ") {
			return plainCause(inner)
		}
	}
	return err
}

// meter counts the bytes of the values that a word asks for.
type meter struct {
	env  shell.EnvGetter
	left int
	used int
	over bool
}

func (m *meter) Get(key string) (string, bool) {
	v, ok := m.env.Get(key)
	if len(v) > m.left {
		m.over = true
		return "", ok
	}
	m.left -= len(v)
	m.used += len(v)
	return v, ok
}

func (m *meter) Keys() []string { return m.env.Keys() }

// allowance returns how many bytes of values word may have. A word with
// patterns has less: ${x//p/r} writes r for each letter of x in the worst case,
// and a pattern is compared with each of them.
func allowance(word string) int {
	n := patterns(word)
	if n == 0 {
		return maxWord
	}
	for s := maxWord; s > 1; s /= 2 {
		work := s
		for range n {
			if work > maxPatternWork/(s+len(word)) {
				work = maxPatternWork + 1
				break
			}
			work *= s + len(word)
		}
		if work <= maxPatternWork {
			return s
		}
	}
	return 1
}

// patterns returns how deep the ${x#p}, ${x%p} and ${x/p/r} of word nest, or how
// many there are if quotes or escapes could hide where one ends.
func patterns(word string) int {
	hidden := strings.ContainsAny(word, "\"'\\`")
	var open []bool // for each "${": has it a pattern?
	depth, deepest := 0, 0
	for i := 0; i < len(word); i++ {
		switch {
		case strings.HasPrefix(word[i:], "${"):
			j := i + 2
			for j < len(word) && word[j] != '}' && word[j] != '$' && !strings.ContainsRune("#%/:+-?", rune(word[j])) {
				j++
			}
			pattern := j < len(word) && strings.ContainsRune("#%/", rune(word[j]))
			open = append(open, pattern)
			if pattern {
				depth++
				deepest = max(deepest, depth)
			}
			i = j - 1
		case word[i] == '}' && !hidden && len(open) > 0:
			if open[len(open)-1] {
				depth--
			}
			open = open[:len(open)-1]
		}
	}
	return deepest
}
