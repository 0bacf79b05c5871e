package change

import "strings"

// fields splits at blanks outside quotes, and leaves quotes and backslashes in
// place for expand.
func fields(s string) []string {
	var words []string
	var word strings.Builder
	var quote byte
	inWord := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(s):
			word.WriteByte(c)
			i++
			c = s[i]
		}
		word.WriteByte(c)
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}

// expand takes quotes and backslashes away and puts in the variables of the
// environment so far: $NAME, ${NAME}, ${NAME:-default}, ${NAME:+instead}. In
// single quotes nothing is special, in double quotes $ and some backslashes are.
func (e *editor) expand(s string) (string, error) {
	x := expander{env: e.c.Env, in: s}
	err := x.run("")
	return x.out.String(), err
}

type expander struct {
	env []string
	in  string
	pos int
	out strings.Builder
}

// run expands up to one of the stop characters, which it leaves, or the end.
func (x *expander) run(stop string) error {
	double := false
	for x.pos < len(x.in) {
		c := x.in[x.pos]
		switch {
		case !double && strings.IndexByte(stop, c) >= 0:
			return nil
		case c == '\'' && !double:
			end := strings.IndexByte(x.in[x.pos+1:], '\'')
			if end < 0 {
				return invalid("unexpected end of statement while looking for matching single-quote")
			}
			x.out.WriteString(x.in[x.pos+1 : x.pos+1+end])
			x.pos += end + 2
		case c == '"':
			double = !double
			x.pos++
		case c == '\\':
			x.escape(double)
		case c == '$':
			if err := x.variable(); err != nil {
				return err
			}
		default:
			x.out.WriteByte(c)
			x.pos++
		}
	}
	if double {
		return invalid("unexpected end of statement while looking for matching double-quote")
	}
	return nil
}

func (x *expander) escape(double bool) {
	x.pos++
	if x.pos == len(x.in) { // a backslash at the end is itself
		x.out.WriteByte('\\')
		return
	}
	c := x.in[x.pos]
	if double && c != '"' && c != '$' && c != '\\' {
		x.out.WriteByte('\\')
	}
	x.out.WriteByte(c)
	x.pos++
}

// variable expands what begins with $.
func (x *expander) variable() error {
	x.pos++
	if x.pos < len(x.in) && x.in[x.pos] == '{' {
		return x.braces()
	}
	name := x.name()
	if name == "" {
		x.out.WriteByte('$')
		return nil
	}
	value, _ := x.lookup(name)
	x.out.WriteString(value)
	return nil
}

func (x *expander) braces() error {
	x.pos++
	name := x.name()
	if name == "" || x.pos == len(x.in) {
		return invalid("unsupported modifier or missing } in substitution")
	}
	value, set := x.lookup(name)
	if x.in[x.pos] == '}' {
		x.pos++
		x.out.WriteString(value)
		return nil
	}
	if x.in[x.pos] != ':' || x.pos+1 == len(x.in) {
		return invalid("missing ':' in substitution")
	}
	modifier := x.in[x.pos+1]
	x.pos += 2
	word := expander{env: x.env, in: x.in, pos: x.pos}
	if err := word.run("}"); err != nil {
		return err
	}
	if word.pos == len(x.in) {
		return invalid("missing } in substitution")
	}
	x.pos = word.pos + 1
	filled := set && value != ""
	switch modifier {
	case '-':
		if !filled {
			value = word.out.String()
		}
	case '+':
		if filled {
			value = word.out.String()
		} else {
			value = ""
		}
	case '?':
		if !filled {
			return invalid("%s: %s", name, word.out.String())
		}
	default:
		return invalid("unsupported modifier (%c) in substitution", modifier)
	}
	x.out.WriteString(value)
	return nil
}

// name reads a variable's name.
func (x *expander) name() string {
	start := x.pos
	for x.pos < len(x.in) {
		c := x.in[x.pos]
		digit := c >= '0' && c <= '9'
		if c != '_' && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(digit && x.pos > start) {
			break
		}
		x.pos++
	}
	return x.in[start:x.pos]
}

func (x *expander) lookup(name string) (string, bool) {
	for _, v := range x.env {
		if have, value, _ := strings.Cut(v, "="); have == name {
			return value, true
		}
	}
	return "", false
}
