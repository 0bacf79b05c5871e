// Package jsontext provides reading and writing of JSON without reflection,
// for the few documents that are on a hot path: the state of a container (ps
// reads all of them), the lines of its log, the journal of events.
//
// encoding/json learns a type on its first use and allocates for each value:
// for a process that lives two milliseconds both are most of its work. Here the
// caller walks the document instead:
//
//	d := jsontext.NewDecoder(line)
//	for more := d.Open('{'); more; more = d.More('}') {
//		switch string(d.Key()) {
//		case "ID":
//			s.ID = d.Text()
//		default:
//			d.Skip()
//		}
//	}
//	err := d.Err()
//
// The first mistake in the text sticks: every later call returns zero values
// and ends its loop, and Err reports it.
package jsontext

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// Decoder walks one JSON document from left to right. The zero value has no text.
type Decoder struct {
	text    []byte
	at      int
	scratch []byte // holds strings that had escapes
	bad     bool
}

// NewDecoder returns a decoder of text, which must not change while it is used.
func NewDecoder(text []byte) Decoder { return Decoder{text: text} }

// Reset starts again with another text and keeps the buffers.
func (d *Decoder) Reset(text []byte) { d.text, d.at, d.bad = text, 0, false }

// Err returns an error if the text was not what the caller walked through.
func (d *Decoder) Err() error {
	if d.bad {
		return fmt.Errorf("malformed JSON at byte %d", d.at)
	}
	return nil
}

// End reports whether nothing but blanks follows.
func (d *Decoder) End() bool { return d.peek() == 0 && d.at == len(d.text) }

// Fail marks the document as not what the caller expects.
func (d *Decoder) Fail() { d.bad = true }

// peek skips blanks and returns the next byte, or 0 at the end and after a mistake.
func (d *Decoder) peek() byte {
	if d.bad {
		return 0
	}
	for ; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; c {
		case ' ', '\n', '\t', '\r':
		default:
			return c
		}
	}
	return 0
}

// word consumes a literal such as null.
func (d *Decoder) word(w string) bool {
	if d.bad || len(d.text)-d.at < len(w) || string(d.text[d.at:d.at+len(w)]) != w {
		return false
	}
	d.at += len(w)
	return true
}

// Null consumes a null and reports whether there was one.
func (d *Decoder) Null() bool { return d.peek() == 'n' && d.word("null") }

// Open enters an object ('{') or an array ('[') and reports whether it has a
// member. A null counts as empty.
func (d *Decoder) Open(bracket byte) bool {
	c := d.peek()
	if c == 'n' && d.word("null") {
		return false
	}
	if c != bracket {
		d.Fail()
		return false
	}
	d.at++
	if d.peek() == bracket+2 { // '{' and '}', '[' and ']' are two apart
		d.at++
		return false
	}
	return !d.bad
}

// More goes on to the next member, or leaves the object or array that the bracket closes.
func (d *Decoder) More(bracket byte) bool {
	switch d.peek() {
	case ',':
		d.at++
		return true
	case bracket:
		d.at++
		return false
	}
	d.Fail()
	return false
}

// Key returns the name of a member. It is valid until the next call.
func (d *Decoder) Key() []byte {
	k := d.Bytes()
	if d.peek() != ':' {
		d.Fail()
		return nil
	}
	d.at++
	return k
}

// Text returns a string.
func (d *Decoder) Text() string { return string(d.Bytes()) }

// Bytes returns a string as bytes that are valid until the next call. A null is empty.
func (d *Decoder) Bytes() []byte {
	c := d.peek()
	if c == 'n' && d.word("null") {
		return nil
	}
	if c != '"' {
		d.Fail()
		return nil
	}
	start := d.at + 1
	for i := start + plain(d.text[start:]); i < len(d.text); i++ {
		switch c := d.text[i]; {
		case c == '"':
			d.at = i + 1
			return d.text[start:i:i]
		case c == '\\':
			d.at = i
			return d.unescape(start)
		case c < ' ':
			d.at = i
			d.Fail()
			return nil
		}
	}
	d.Fail()
	return nil
}

// unescape goes on with a string at its first backslash.
func (d *Decoder) unescape(start int) []byte {
	out := append(d.scratch[:0], d.text[start:d.at]...)
	for d.at < len(d.text) {
		c := d.text[d.at]
		d.at++
		switch {
		case c == '"':
			d.scratch = out
			return out
		case c < ' ':
			d.Fail()
			return nil
		case c != '\\':
			out = append(out, c)
			continue
		}
		if d.at == len(d.text) {
			break
		}
		e := d.text[d.at]
		d.at++
		switch e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			out = utf8.AppendRune(out, d.codePoint())
		default:
			d.Fail()
		}
		if d.bad {
			return nil
		}
	}
	d.Fail()
	return nil
}

// codePoint reads the digits of a \u escape, and the second half of a
// surrogate pair; half a pair is the replacement character.
func (d *Decoder) codePoint() rune {
	r := d.hex4()
	if r < 0xd800 || r >= 0xe000 {
		return r
	}
	if r < 0xdc00 && d.at+2 <= len(d.text) && d.text[d.at] == '\\' && d.text[d.at+1] == 'u' {
		back := d.at
		d.at += 2
		if low := d.hex4(); low >= 0xdc00 && low < 0xe000 {
			return (r-0xd800)<<10 | (low - 0xdc00) + 0x10000
		}
		d.at = back
	}
	return utf8.RuneError
}

func (d *Decoder) hex4() (r rune) {
	if d.at+4 > len(d.text) {
		d.Fail()
		return 0
	}
	for _, c := range d.text[d.at : d.at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			d.Fail()
			return 0
		}
		r = r<<4 | rune(c)
	}
	d.at += 4
	return r
}

// Bool returns true or false; a null is false.
func (d *Decoder) Bool() bool {
	switch d.peek() {
	case 't':
		if d.word("true") {
			return true
		}
	case 'f':
		if d.word("false") {
			return false
		}
	case 'n':
		if d.word("null") {
			return false
		}
	}
	d.Fail()
	return false
}

// number consumes a number by the grammar of RFC 8259 and returns its text.
func (d *Decoder) number() []byte {
	d.peek()
	start := d.at
	if d.bad {
		return nil
	}
	if d.at < len(d.text) && d.text[d.at] == '-' {
		d.at++
	}
	if first := d.at; d.digits() == 0 || d.text[first] == '0' && d.at-first > 1 {
		d.Fail()
		return nil
	}
	if d.at < len(d.text) && d.text[d.at] == '.' {
		d.at++
		if d.digits() == 0 {
			d.Fail()
		}
	}
	if d.at < len(d.text) && (d.text[d.at] == 'e' || d.text[d.at] == 'E') {
		d.at++
		if d.at < len(d.text) && (d.text[d.at] == '+' || d.text[d.at] == '-') {
			d.at++
		}
		if d.digits() == 0 {
			d.Fail()
		}
	}
	return d.text[start:d.at]
}

func (d *Decoder) digits() (n int) {
	for ; d.at < len(d.text) && d.text[d.at] >= '0' && d.text[d.at] <= '9'; d.at++ {
		n++
	}
	return n
}

// Int returns a whole number; a null is 0.
func (d *Decoder) Int() int64 {
	if d.Null() {
		return 0
	}
	n, err := strconv.ParseInt(string(d.number()), 10, 64)
	if err != nil {
		d.Fail()
		return 0
	}
	return n
}

// Uint returns a whole number from 0; a null is 0.
func (d *Decoder) Uint() uint64 {
	if d.Null() {
		return 0
	}
	n, err := strconv.ParseUint(string(d.number()), 10, 64)
	if err != nil {
		d.Fail()
		return 0
	}
	return n
}

// Time returns a time in RFC 3339; a null is the zero time.
func (d *Decoder) Time() (t time.Time) {
	if d.Null() {
		return t
	}
	if b := d.Bytes(); !d.bad && t.UnmarshalText(b) != nil {
		d.Fail()
		return time.Time{}
	}
	return t
}

// maxDepth bounds the nesting that Skip accepts.
const maxDepth = 1000

// Skip passes over one value of any kind.
func (d *Decoder) Skip() { d.skip(0) }

func (d *Decoder) skip(depth int) {
	switch c := d.peek(); c {
	case '{', '[':
		if depth == maxDepth {
			d.Fail()
			return
		}
		for more := d.Open(c); more; more = d.More(c + 2) {
			if c == '{' {
				d.Key()
			}
			d.skip(depth + 1)
		}
	case '"':
		d.Bytes()
	case 't', 'f', 'n':
		d.Bool()
	default:
		d.number()
	}
}
