// Package fields writes and reads JSON documents that this program alone writes,
// by one list of members for both directions:
//
//	func planFields(c *fields.Codec, p *Plan) {
//		fields.Field(c, "ID", &p.ID, fields.Text)
//		fields.Field(c, "Ports", &p.Ports, fields.ListOf(fields.Object(portFields)))
//	}
//	text := fields.Encode(func(c *fields.Codec) { planFields(c, p) })
//	ok := fields.Decode(text, func(c *fields.Codec) { planFields(c, p) })
package fields

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"berth/internal/jsontext"
)

// firstRoom is what a document gets at first, in bytes: more than most need.
const firstRoom = 4096

// Codec writes or reads a document whose members are visited in one order,
// that of the struct's fields: one list of fields serves both directions.
// Reading expects the members in the order in which writing made them. If
// something else comes, because a person edited the file, the caller may fall
// back on encoding/json, which costs more than all other work of a short command.
type Codec struct {
	reading bool
	out     []byte
	in      jsontext.Decoder

	first bool   // writing: no member of the present object has been written
	more  bool   // reading: there is a member that was not read
	key   string // reading: its name
}

// Encode returns the document that visit writes.
func Encode(visit func(*Codec)) []byte {
	c := &Codec{out: make([]byte, 0, firstRoom)}
	c.object(visit)
	return append(c.out, '\n')
}

// Decode reads a document; ok is false if it is not in the order of visit.
func Decode(text []byte, visit func(*Codec)) (ok bool) {
	c := &Codec{reading: true, in: jsontext.NewDecoder(text)}
	c.object(visit)
	return c.in.Err() == nil && c.in.End()
}

// object visits the members of one object.
func (c *Codec) object(visit func(*Codec)) {
	first, more, key := c.first, c.more, c.key
	if c.reading {
		c.more = c.in.Open('{')
		c.nextKey()
		visit(c)
		if c.more { // a member that is not known, or not here
			c.in.Fail()
		}
	} else {
		c.out, c.first = append(c.out, '{'), true
		visit(c)
		c.out = append(c.out, '}')
	}
	c.first, c.more, c.key = first, more, key
}

func (c *Codec) nextKey() {
	if c.more {
		c.key = string(c.in.Key())
	}
}

// member begins a member and reports whether its value is to be written or
// read now. An omitted one is not written.
func (c *Codec) member(name string, omitted bool) bool {
	if c.reading {
		return c.more && c.key == name
	}
	if omitted {
		return false
	}
	if !c.first {
		c.out = append(c.out, ',')
	}
	c.first = false
	c.out = append(jsontext.AppendString(c.out, name), ':')
	return true
}

// done ends a member.
func (c *Codec) done() {
	if c.reading {
		c.more = c.in.More('}')
		c.nextKey()
	}
}

// Kind is how one value is written and read.
type Kind[T any] func(c *Codec, v *T)

// Field visits a member of any kind.
func Field[T any](c *Codec, name string, p *T, kind Kind[T]) {
	if c.member(name, false) {
		kind(c, p)
		c.done()
	}
}

// Optional visits a member that is left out when it is empty.
func Optional[T comparable](c *Codec, name string, p *T, kind Kind[T]) {
	var empty T
	if c.member(name, *p == empty) {
		kind(c, p)
		c.done()
	}
}

// OptionalList visits a list that is left out when it has no element.
func OptionalList[T any](c *Codec, name string, p *[]T, kind Kind[T]) {
	if c.member(name, len(*p) == 0) {
		ListOf(kind)(c, p)
		c.done()
	}
}

// OptionalMap visits a map that is left out when it has no element.
func OptionalMap[T any](c *Codec, name string, p *map[string]T, kind Kind[T]) {
	if c.member(name, len(*p) == 0) {
		MapOf(kind)(c, p)
		c.done()
	}
}

func Text(c *Codec, v *string) {
	if c.reading {
		*v = c.in.Text()
	} else {
		c.out = jsontext.AppendString(c.out, *v)
	}
}

func Bool(c *Codec, v *bool) {
	if c.reading {
		*v = c.in.Bool()
	} else {
		c.out = jsontext.AppendBool(c.out, *v)
	}
}

func Number[T int | int64 | byte | uint16 | uint32](c *Codec, v *T) {
	if !c.reading {
		c.out = jsontext.AppendInt(c.out, int64(*v))
		return
	}
	n := c.in.Int()
	if *v = T(n); int64(*v) != n {
		c.in.Fail()
	}
}

func Unsigned(c *Codec, v *uint64) {
	if c.reading {
		*v = c.in.Uint()
	} else {
		c.out = strconv.AppendUint(c.out, *v, 10)
	}
}

func Time(c *Codec, v *time.Time) {
	if c.reading {
		*v = c.in.Time()
	} else {
		c.out = jsontext.AppendTime(c.out, *v)
	}
}

// Empty is the object of a set's members.
func Empty(c *Codec, _ *struct{}) { c.object(func(*Codec) {}) }

// null writes or reads a null, if it is one, and reports that.
func (c *Codec) null(isNil bool) bool {
	if c.reading {
		return c.in.Null()
	}
	if isNil {
		c.out = append(c.out, "null"...)
	}
	return isNil
}

func PointerTo[T any](kind Kind[T]) Kind[*T] {
	return func(c *Codec, v **T) {
		if c.null(*v == nil) {
			return
		}
		if c.reading {
			*v = new(T)
		}
		kind(c, *v)
	}
}

func ListOf[T any](kind Kind[T]) Kind[[]T] {
	return func(c *Codec, v *[]T) {
		if c.null(*v == nil) {
			return
		}
		if c.reading {
			*v = []T{}
			for more := c.in.Open('['); more; more = c.in.More(']') {
				*v = append(*v, *new(T))
				kind(c, &(*v)[len(*v)-1])
			}
			return
		}
		c.out = append(c.out, '[')
		for i := range *v {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			kind(c, &(*v)[i])
		}
		c.out = append(c.out, ']')
	}
}

func MapOf[T any](kind Kind[T]) Kind[map[string]T] {
	return func(c *Codec, v *map[string]T) {
		if c.null(*v == nil) {
			return
		}
		if c.reading {
			*v = map[string]T{}
			for more := c.in.Open('{'); more; more = c.in.More('}') {
				k := string(c.in.Key())
				var e T
				kind(c, &e)
				(*v)[k] = e
			}
			return
		}
		c.out = append(c.out, '{')
		for i, k := range slices.Sorted(maps.Keys(*v)) {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			e := (*v)[k]
			c.out = append(jsontext.AppendString(c.out, k), ':')
			kind(c, &e)
		}
		c.out = append(c.out, '}')
	}
}

// Object is a nested object with a list of fields of its own.
func Object[T any](visit func(*Codec, *T)) Kind[T] {
	return func(c *Codec, v *T) { c.object(func(c *Codec) { visit(c, v) }) }
}
