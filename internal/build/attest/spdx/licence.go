package spdx

import (
	"cmp"
	"slices"
	"strings"
)

// licences turns what packages declare into SPDX licence expressions (SPDX 2.3,
// annex D). A name that is not on SPDX's list becomes a LicenseRef, and the
// document then holds what was declared.
type licences struct{ texts map[string]string }

func newLicences() *licences { return &licences{texts: map[string]string{}} }

// declared returns the expression that says that all of the list apply.
func (l *licences) declared(list []string) string {
	var terms []string
	for _, text := range list {
		e, compound := l.expression(text)
		if compound && len(list) > 1 {
			e = "(" + e + ")"
		}
		if e != "" && !slices.Contains(terms, e) {
			terms = append(terms, e)
		}
	}
	if len(terms) == 0 {
		return noAssertion
	}
	return strings.Join(terms, " AND ")
}

// extracted lists the licences that are not SPDX's.
func (l *licences) extracted() []ExtractedText {
	all := make([]ExtractedText, 0, len(l.texts))
	for id, text := range l.texts {
		all = append(all, ExtractedText{ID: id, Text: text, Name: text})
	}
	slices.SortFunc(all, func(a, b ExtractedText) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// other returns the reference to a licence that is not on SPDX's list.
func (l *licences) other(text string) string {
	id := "LicenseRef-" + idString(text)
	if idString(text) != text || len(id) > 64 {
		id = id[:min(len(id), 64)] + "-" + shortSum(text)
	}
	l.texts[id] = text
	return id
}

// expression translates one declaration; compound says that it has operators.
// What is no expression is taken as one name.
func (l *licences) expression(text string) (e string, compound bool) {
	text = strings.TrimSpace(text)
	if text == "" || strings.EqualFold(text, "none") || strings.EqualFold(text, "unknown") || strings.EqualFold(text, noAssertion) {
		return "", false
	}
	p := &expressionParser{words: lex(text)}
	if !p.parse() {
		return l.other(text), false
	}
	for i, t := range p.out {
		if t.name {
			if p.out[i].text = known(t.text); p.out[i].text == "" {
				p.out[i].text = l.other(t.text)
			}
		}
	}
	var b strings.Builder
	for i, t := range p.out {
		if i > 0 && t.text != ")" && p.out[i-1].text != "(" {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
	}
	return b.String(), p.operators > 0
}

// term is a piece of an expression: a licence's name, or an operator.
type term struct {
	text string
	name bool
}

// maxDepth bounds parentheses in parentheses.
const maxDepth = 50

// lex splits an expression at blanks and parentheses. In Debian's notation a
// comma ends a group: "a or b, and c" is "(a or b) and c".
func lex(text string) []string {
	if n := strings.Count(text, ","); n <= maxDepth {
		text = strings.Repeat("(", n) + strings.ReplaceAll(text, ",", ")")
	}
	text = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)
	return strings.Fields(text)
}

// expressionParser reads
//
//	expression = operand { ("and" | "or") operand }
//	operand    = name [ "with" exception ] | "(" expression ")"
//
// in capitals or small letters, as distributions write it.
type expressionParser struct {
	words     []string
	out       []term
	operators int
	depth     int
}

func (p *expressionParser) parse() bool { return p.expression() && len(p.words) == 0 }

func (p *expressionParser) next() string {
	if len(p.words) == 0 {
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *expressionParser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return strings.ToUpper(p.words[0])
}

func (p *expressionParser) expression() bool {
	for {
		if !p.operand() {
			return false
		}
		op := p.peek()
		if op != "AND" && op != "OR" {
			return true
		}
		p.next()
		p.operators++
		p.out = append(p.out, term{text: op})
	}
}

func (p *expressionParser) operand() bool {
	switch w := p.next(); strings.ToUpper(w) {
	case "", ")", "AND", "OR", "WITH":
		return false
	case "(":
		if p.depth++; p.depth > maxDepth {
			return false
		}
		p.out = append(p.out, term{text: "("})
		ok := p.expression() && p.next() == ")"
		p.out = append(p.out, term{text: ")"})
		p.depth--
		return ok
	default:
		if p.peek() != "WITH" {
			p.out = append(p.out, term{w, true})
			return true
		}
		p.next()
		exception := p.next()
		if id := knownException(exception); id != "" && known(w) != "" {
			p.out = append(p.out, term{text: known(w) + " WITH " + id})
			return true
		}
		// The exception is not SPDX's: the two together are a licence of its own.
		p.out = append(p.out, term{w + " with " + exception, true})
		return exception != "" && exception != "(" && exception != ")"
	}
}
