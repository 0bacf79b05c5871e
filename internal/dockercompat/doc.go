// Package dockercompat provides Docker's JSON shapes, made from the engine's
// values. They are what `inspect` prints, what the Docker Engine API answers,
// and what the templates of users' scripts reach into.
//
// A template sees the names of Go fields and JSON sees the tags, and Docker's
// differ here and there ({{.ID}} but "Id"). The Go names here are Docker's. When
// a template fails on them, Docker's command line tries again on the JSON: Raw
// returns that second view.
//
// What is empty has Docker's kind of emptiness ([], {} or null), since scripts
// compare with it. The classic shape is kept (GraphDriver, the fields of the
// default network beside Networks) that newer Docker versions drop.
package dockercompat

import (
	"bytes"
	"encoding/json"
	"time"
)

// Raw returns v as a template sees it when it uses JSON names: maps, lists, and
// numbers in their own text.
func Raw(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var raw any
	return raw, dec.Decode(&raw)
}

// GraphDriver tells where the layers of a container or image are.
type GraphDriver struct {
	Data map[string]string
	Name string
}

// overlay2 is the name under which the layer store is known to Docker's users.
const overlay2 = "overlay2"

// timestamp writes a time as Docker does; the zero time is 0001-01-01T00:00:00Z.
func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// list returns l, or an empty list that is not null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// table returns m, or an empty object that is not null.
func table[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}
