package dockerfile

import (
	"strings"
	"unicode/utf8"
)

// column finds where between the lines first and last the trouble is: at word
// if it stands there, else at an option, a quoted word or a value of the
// message, else at the instruction itself. Columns count letters, from 1.
func (f *File) column(first, last int, word, message string) (line, col int) {
	last = min(last, len(f.lines))
	if first > last {
		return first, 0
	}
	for _, w := range append([]string{word}, mentioned(message)...) {
		if w == "" {
			continue
		}
		for l := first; l <= last; l++ {
			if i := strings.Index(f.lines[l-1], w); i >= 0 {
				return l, utf8.RuneCountInString(f.lines[l-1][:i]) + 1
			}
		}
	}
	for w := range strings.FieldsSeq(message) { // the value of an option
		if len(w) < 3 {
			continue
		}
		for l := first; l <= last; l++ {
			if i := strings.Index(f.lines[l-1], "="+w); i >= 0 {
				return l, utf8.RuneCountInString(f.lines[l-1][:i]) + 2
			}
		}
	}
	text := f.lines[first-1]
	return first, utf8.RuneCountInString(text[:len(text)-len(strings.TrimLeft(text, " \t"))]) + 1
}

// mentioned returns the words of a message that may stand in the text: options
// and what is in quotes.
func mentioned(message string) (words []string) {
	for w := range strings.FieldsSeq(message) {
		if w = strings.TrimRight(w, ",.:;)"); strings.HasPrefix(w, "--") && len(w) > 2 {
			words = append(words, w)
		}
	}
	for _, quote := range []string{`"`, "'"} {
		parts := strings.Split(message, quote)
		for i := 1; i < len(parts)-1; i += 2 {
			if w := parts[i]; w != "" && !strings.ContainsAny(w, "\n") {
				words = append(words, w)
			}
		}
	}
	return words
}
