package packages

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// paragraphs yields the parts of a text that empty lines divide.
func paragraphs(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for text != "" {
			end, next := paragraphEnd(text)
			if p := text[:end]; p != "" && !yield(p) {
				return
			}
			text = text[next:]
		}
	}
}

// paragraphEnd finds the first empty line: where the paragraph ends, with its
// newline, and where the next one begins.
func paragraphEnd(text string) (end, next int) {
	for at := 0; at < len(text); {
		n := strings.IndexByte(text[at:], '\n') + 1
		if n == 0 {
			n = len(text) - at
		}
		if strings.TrimRight(text[at:at+n], " \t\r\n") == "" {
			return at, at + n
		}
		at += n
	}
	return len(text), len(text)
}

// fields yields the fields of a paragraph in Debian's form (deb822(5)):
// "Name: value", the name in small letters. Of a value with more lines, which
// begin with a blank, the first one: nothing that is asked for here has more.
func fields(paragraph string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range strings.Lines(paragraph) {
			name, value, ok := strings.Cut(line, ":")
			if !ok || line[0] == ' ' || line[0] == '\t' {
				continue
			}
			if !yield(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// maxValue bounds what one field may add to a document, in bytes.
const maxValue = 4 << 10

// printable makes a value fit for a document: valid UTF-8 on one line, without
// control characters, and not longer than maxValue.
func printable(s string) string {
	if len(s) > maxValue {
		s = s[:maxValue]
	}
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s))
}

// clean makes all texts of a package printable, and reports whether it has a
// name and a version.
func (p *Package) clean() bool {
	for _, s := range [...]*string{&p.Name, &p.Version, &p.Epoch, &p.Arch, &p.Source, &p.SourceVersion, &p.Summary, &p.Homepage, &p.Maintainer} {
		*s = printable(*s)
	}
	kept := p.Licences[:0]
	for _, l := range p.Licences {
		if l = printable(l); l != "" {
			kept = append(kept, l)
		}
	}
	p.Licences = kept
	return p.Name != "" && p.Version != ""
}
