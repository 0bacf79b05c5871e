// Package flagvalue provides the values of flags that are more than a word or a
// number: lists, sizes, CPU counts, limits, devices, mounts.
//
// Each type is a pflag.Value: Set checks one value as it is read from the
// command line, so that the error names the flag and the value the user typed.
// The forms accepted and the messages are Docker's, because scripts and fingers
// know them; what the values mean is decided by the engine.
package flagvalue

import (
	"fmt"
	"strings"
)

// List collects the values of a flag that may be given more than once.
type List struct {
	Values []string
	// Check, when not nil, validates a value and returns it in its final form.
	Check func(string) (string, error)
}

// Set adds a value.
func (l *List) Set(s string) error {
	if l.Check != nil {
		var err error
		if s, err = l.Check(s); err != nil {
			return err
		}
	}
	l.Values = append(l.Values, s)
	return nil
}

// Type names the value in the help.
func (l *List) Type() string { return "list" }

// String returns nothing: a list has no default to show.
func (l *List) String() string { return "" }

// Map collects "key=value" values; a key without "=" has the empty value.
type Map struct {
	Values map[string]string
	Check  func(string) (string, error)
}

// Set adds a pair; the last of one key counts.
func (m *Map) Set(s string) error {
	if m.Check != nil {
		var err error
		if s, err = m.Check(s); err != nil {
			return err
		}
	}
	k, v, _ := strings.Cut(s, "=")
	if m.Values == nil {
		m.Values = map[string]string{}
	}
	m.Values[k] = v
	return nil
}

// Type names the value in the help.
func (m *Map) Type() string { return "map" }

// String returns nothing: a map has no default to show.
func (m *Map) String() string { return "" }

// Filters are the --filter flags: key -> values.
type Filters map[string][]string

// Set adds "key=value".
func (f *Filters) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("bad format of filter (expected name=value)")
	}
	if *f == nil {
		*f = Filters{}
	}
	k = strings.ToLower(strings.TrimSpace(k))
	(*f)[k] = append((*f)[k], strings.TrimSpace(v))
	return nil
}

// Type names the value in the help.
func (f *Filters) Type() string { return "filter" }

// String returns nothing: there is no default filter.
func (f *Filters) String() string { return "" }

// Pairs splits "k=v" strings into a map; a key without "=" has the empty value.
func Pairs(list []string) map[string]string {
	m := make(map[string]string, len(list))
	for _, s := range list {
		k, v, _ := strings.Cut(s, "=")
		m[k] = v
	}
	return m
}

// Label checks a --label: it needs a name.
func Label(s string) (string, error) {
	if k, _, _ := strings.Cut(s, "="); strings.TrimSpace(k) == "" {
		return "", fmt.Errorf("invalid label '%s': empty name", s)
	}
	return s, nil
}

// Sysctl checks a --sysctl: only parameters that belong to a namespace of the
// container may be set, since the others are the host's (namespaces(7), ipc and net).
func Sysctl(s string) (string, error) {
	k, _, ok := strings.Cut(s, "=")
	if ok {
		switch k {
		case "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
			"kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced":
			return s, nil
		}
		if strings.HasPrefix(k, "net.") || strings.HasPrefix(k, "fs.mqueue.") {
			return s, nil
		}
	}
	return "", fmt.Errorf("sysctl '%s' is not allowed", s)
}

// Stream checks an --attach.
func Stream(s string) (string, error) {
	s2 := strings.ToLower(s)
	if s2 == "stdin" || s2 == "stdout" || s2 == "stderr" {
		return s2, nil
	}
	return "", fmt.Errorf("valid streams are STDIN, STDOUT and STDERR")
}
