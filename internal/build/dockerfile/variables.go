package dockerfile

import (
	"slices"
	"strings"
)

// variables are what $NAME means at one point of a stage: the image's
// environment and the ARGs in scope, in the order in which they were set. It is
// a shell.EnvGetter.
type variables struct {
	names  []string
	values map[string]string
}

func newVariables() *variables { return &variables{values: map[string]string{}} }

// Get returns the value of name, and whether it is set.
func (v *variables) Get(name string) (string, bool) {
	s, ok := v.values[name]
	return s, ok
}

// Keys returns all names.
func (v *variables) Keys() []string { return v.names }

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

func (v *variables) clone() *variables {
	c := newVariables()
	for _, n := range v.names {
		c.set(n, v.values[n])
	}
	return c
}

// list returns NAME=value for each.
func (v *variables) list() []string {
	l := make([]string, len(v.names))
	for i, n := range v.names {
		l[i] = n + "=" + v.values[n]
	}
	return l
}

// size is about the memory that list takes.
func (v *variables) size() int {
	n := 0
	for _, name := range v.names {
		n += len(name) + len(v.values[name]) + 17
	}
	return n
}

// setInList returns env with name set, at its place if it is there already.
// The list that was given is not changed: earlier steps hold it.
func setInList(env []string, name, value string) []string {
	i := slices.IndexFunc(env, func(e string) bool {
		n, _, _ := strings.Cut(e, "=")
		return n == name
	})
	if i < 0 {
		return append(slices.Clip(env), name+"="+value)
	}
	env = slices.Clone(env)
	env[i] = name + "=" + value
	return env
}
