package engine

import (
	"strings"
	"unicode/utf8"
)

// pattern is a value of a name or id filter. Docker takes it for a regular
// expression that may match anywhere. Package regexp would cost every start of
// the lean binary, so this is the part of the syntax that names need:
//
//	^ $ .  |  ( )  [a-z] [^a-z]  * + ?  and \ before a character that is meant itself
//
// Matching tries alternatives one after another; names are short.
type pattern struct {
	text string
	alts [][]atom // nil: not an expression; then only the very text matches
}

// atom is one element of an expression, with how often it may occur.
type atom struct {
	begin, end bool              // ^ and $
	accepts    func(r rune) bool // one character
	group      [][]atom          // or a bracketed expression
	min, max   int
}

// manyTimes stands for no limit: a name is no longer than 255 bytes.
const manyTimes = 1 << 20

func compilePattern(text string) *pattern {
	c := &patternParser{rest: text}
	alts := c.alternatives()
	if c.bad || c.rest != "" {
		alts = nil
	}
	return &pattern{text, alts}
}

// find reports whether s is the pattern's text or holds a match of it.
func (p *pattern) find(s string) bool {
	if s == p.text {
		return true
	}
	for at := 0; p.alts != nil && at <= len(s); at++ {
		if matchAny(p.alts, s, at, func(int) bool { return true }) {
			return true
		}
	}
	return false
}

// patternParser is at some place of an expression.
type patternParser struct {
	rest string
	bad  bool
}

// next takes one character, or 0 at the end.
func (c *patternParser) next() rune {
	if c.rest == "" {
		return 0
	}
	r, n := utf8.DecodeRuneInString(c.rest)
	c.rest = c.rest[n:]
	return r
}

// peek reports whether one of the characters follows.
func (c *patternParser) peek(chars string) bool {
	return c.rest != "" && strings.IndexByte(chars, c.rest[0]) >= 0
}

func (c *patternParser) alternatives() [][]atom {
	alts := [][]atom{c.sequence()}
	for c.peek("|") {
		c.next()
		alts = append(alts, c.sequence())
	}
	return alts
}

func (c *patternParser) sequence() (seq []atom) {
	for c.rest != "" && !c.peek("|)") && !c.bad {
		a := c.atom()
		switch {
		case c.peek("*"):
			a.min, a.max = 0, manyTimes
		case c.peek("+"):
			a.max = manyTimes
		case c.peek("?"):
			a.min = 0
		default:
			seq = append(seq, a)
			continue
		}
		c.next()
		c.bad = c.bad || a.begin || a.end || c.peek("*+?")
		seq = append(seq, a)
	}
	return seq
}

func (c *patternParser) atom() atom {
	a := atom{min: 1, max: 1}
	switch r := c.next(); r {
	case '^':
		a.begin = true
	case '$':
		a.end = true
	case '.':
		a.accepts = func(rune) bool { return true }
	case '(':
		c.bad = c.bad || c.peek("?")
		a.group = c.alternatives()
		c.bad = c.bad || c.next() != ')'
	case '[':
		a.accepts = c.class()
	case '*', '+', '?', '{', '}', ']':
		c.bad = true
	case '\\':
		lit := c.next()
		c.bad = c.bad || lit == 0 || isWordChar(lit) // \d, \b, ...: not known here
		a.accepts = func(r rune) bool { return r == lit }
	default:
		a.accepts = func(got rune) bool { return got == r }
	}
	return a
}

func isWordChar(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// class parses the rest of "[a-z_]".
func (c *patternParser) class() func(rune) bool {
	not := c.peek("^")
	if not {
		c.next()
	}
	var ranges [][2]rune
	for first := true; first || !c.peek("]"); first = false {
		lo := c.next()
		if lo == '\\' {
			lo = c.next()
		}
		hi := lo
		if c.peek("-") && len(c.rest) > 1 && c.rest[1] != ']' {
			c.next()
			hi = c.next()
		}
		if lo == 0 || hi < lo {
			c.bad = true
			return nil
		}
		ranges = append(ranges, [2]rune{lo, hi})
	}
	c.next()
	return func(r rune) bool {
		for _, b := range ranges {
			if b[0] <= r && r <= b[1] {
				return !not
			}
		}
		return not
	}
}

// matchAny reports whether an alternative matches s from at on, with the rest matched by then.
func matchAny(alts [][]atom, s string, at int, then func(at int) bool) bool {
	for _, seq := range alts {
		if matchSeq(seq, s, at, then) {
			return true
		}
	}
	return false
}

func matchSeq(seq []atom, s string, at int, then func(at int) bool) bool {
	if len(seq) == 0 {
		return then(at)
	}
	return matchTimes(&seq[0], 0, s, at, func(at int) bool { return matchSeq(seq[1:], s, at, then) })
}

// matchTimes matches an atom that has occurred n times, as often as possible first.
func matchTimes(a *atom, n int, s string, at int, then func(at int) bool) bool {
	again := func(next int) bool {
		return (next > at || n < a.min) && matchTimes(a, n+1, s, next, then)
	}
	if n < a.max {
		switch {
		case a.begin && at == 0, a.end && at == len(s):
			return then(at)
		case a.begin || a.end:
			return false
		case a.group != nil:
			if matchAny(a.group, s, at, again) {
				return true
			}
		case at < len(s):
			if r, size := utf8.DecodeRuneInString(s[at:]); a.accepts(r) && again(at+size) {
				return true
			}
		}
	}
	return n >= a.min && then(at)
}
