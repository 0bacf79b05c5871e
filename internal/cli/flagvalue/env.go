package flagvalue

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Env checks an --env: "NAME=value" or "NAME", which is taken from the client's
// environment. A NAME that the client does not have stays as it is: it takes the
// variable of the image away.
func Env(lookup func(string) (string, bool)) func(string) (string, error) {
	return func(s string) (string, error) {
		name, _, hasValue := strings.Cut(s, "=")
		if name == "" {
			return "", fmt.Errorf("invalid environment variable: %s", s)
		}
		if !hasValue {
			if v, ok := lookup(name); ok {
				return name + "=" + v, nil
			}
		}
		return s, nil
	}
}

// ReadEnvFiles reads files of variables, one "NAME=value" or "NAME" per line.
func ReadEnvFiles(paths []string, lookup func(string) (string, bool)) ([]string, error) {
	var env []string
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		more, err := ParseEnvFile(b, lookup)
		if err != nil {
			return nil, fmt.Errorf("invalid env file (%s): %w", p, err)
		}
		env = append(env, more...)
	}
	return env, nil
}

// ParseEnvFile parses the content of an env file or, with lookup nil, of a
// label file. Lines that begin with # are comments; quotes are part of the
// value, as Docker's; a NAME that lookup does not know is left out.
func ParseEnvFile(b []byte, lookup func(string) (string, bool)) ([]string, error) {
	var out []string
	b = bytes.TrimPrefix(b, []byte("\uFEFF")) // a byte order mark that editors on Windows write
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, len(b)+1) // a line may be as long as the file
	for n := 1; sc.Scan(); n++ {
		if !utf8.Valid(sc.Bytes()) {
			return nil, fmt.Errorf("invalid utf8 bytes at line %d: %q", n, sc.Bytes())
		}
		line := strings.TrimLeftFunc(sc.Text(), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, hasValue := strings.Cut(line, "=")
		if name == "" {
			return nil, fmt.Errorf("no variable name on line '%s'", line)
		}
		if strings.ContainsFunc(name, unicode.IsSpace) {
			return nil, fmt.Errorf("variable '%s' contains whitespaces", name)
		}
		if !hasValue && lookup != nil {
			if value, hasValue = lookup(name); !hasValue {
				continue
			}
		}
		if hasValue {
			name += "=" + value
		}
		out = append(out, name)
	}
	return out, sc.Err()
}
