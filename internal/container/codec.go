package container

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"berth/internal/jsontext"
)

// codec writes or reads a document whose members are visited in one order,
// that of the struct's fields: one list of fields serves both directions.
// config.json is written by this code alone, so that reading can expect the
// next member, too; if something else comes, because a person edited the file,
// the caller falls back on encoding/json, which costs more than all other work
// of a short command.
type codec struct {
	reading bool
	out     []byte
	in      jsontext.Decoder

	first bool   // writing: no member of the present object has been written
	more  bool   // reading: there is a member that was not read
	key   string // reading: its name
}

// encode returns the document that visit writes.
func encode(visit func(*codec)) []byte {
	c := &codec{out: make([]byte, 0, stateBlock)}
	c.object(visit)
	return append(c.out, '\n')
}

// decode reads a document; ok is false if it is not in the order of visit.
func decode(text []byte, visit func(*codec)) (ok bool) {
	c := &codec{reading: true, in: jsontext.NewDecoder(text)}
	c.object(visit)
	return c.in.Err() == nil && c.in.End()
}

// object visits the members of one object.
func (c *codec) object(visit func(*codec)) {
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

func (c *codec) nextKey() {
	if c.more {
		c.key = string(c.in.Key())
	}
}

// member begins a member and reports whether its value is to be written or
// read now. An omitted one is not written.
func (c *codec) member(name string, omitted bool) bool {
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
func (c *codec) done() {
	if c.reading {
		c.more = c.in.More('}')
		c.nextKey()
	}
}

// value is how one value is written and read.
type value[T any] func(c *codec, v *T)

// field visits a member of any kind.
func field[T any](c *codec, name string, p *T, kind value[T]) {
	if c.member(name, false) {
		kind(c, p)
		c.done()
	}
}

// optional visits a member that is left out when it is empty.
func optional[T comparable](c *codec, name string, p *T, kind value[T]) {
	var empty T
	if c.member(name, *p == empty) {
		kind(c, p)
		c.done()
	}
}

// optionalList visits a list that is left out when it has no element.
func optionalList[T any](c *codec, name string, p *[]T, kind value[T]) {
	if c.member(name, len(*p) == 0) {
		listOf(kind)(c, p)
		c.done()
	}
}

// optionalMap visits a map that is left out when it has no element.
func optionalMap[T any](c *codec, name string, p *map[string]T, kind value[T]) {
	if c.member(name, len(*p) == 0) {
		mapOf(kind)(c, p)
		c.done()
	}
}

func text(c *codec, v *string) {
	if c.reading {
		*v = c.in.Text()
	} else {
		c.out = jsontext.AppendString(c.out, *v)
	}
}

func boolean(c *codec, v *bool) {
	if c.reading {
		*v = c.in.Bool()
	} else {
		c.out = jsontext.AppendBool(c.out, *v)
	}
}

func number[T int | int64 | uint16 | uint32](c *codec, v *T) {
	if !c.reading {
		c.out = jsontext.AppendInt(c.out, int64(*v))
		return
	}
	n := c.in.Int()
	if *v = T(n); int64(*v) != n {
		c.in.Fail()
	}
}

func unsigned(c *codec, v *uint64) {
	if c.reading {
		*v = c.in.Uint()
	} else {
		c.out = strconv.AppendUint(c.out, *v, 10)
	}
}

func moment(c *codec, v *time.Time) {
	if c.reading {
		*v = c.in.Time()
	} else {
		c.out = jsontext.AppendTime(c.out, *v)
	}
}

// empty is the object of a set's members.
func empty(c *codec, _ *struct{}) { c.object(func(*codec) {}) }

// null writes or reads a null, if it is one, and reports that.
func (c *codec) null(isNil bool) bool {
	if c.reading {
		return c.in.Null()
	}
	if isNil {
		c.out = append(c.out, "null"...)
	}
	return isNil
}

func pointer[T any](kind value[T]) value[*T] {
	return func(c *codec, v **T) {
		if c.null(*v == nil) {
			return
		}
		if c.reading {
			*v = new(T)
		}
		kind(c, *v)
	}
}

func listOf[T any](kind value[T]) value[[]T] {
	return func(c *codec, v *[]T) {
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

func mapOf[T any](kind value[T]) value[map[string]T] {
	return func(c *codec, v *map[string]T) {
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

// structure is a nested object with a list of fields of its own.
func structure[T any](visit func(*codec, *T)) value[T] {
	return func(c *codec, v *T) { c.object(func(c *codec) { visit(c, v) }) }
}
