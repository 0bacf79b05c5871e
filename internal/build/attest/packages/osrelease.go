package packages

import (
	"os"
	"strings"
)

// readDistro reads os-release(5), which is in one of two places.
func readDistro(root *os.File) (Distro, error) {
	for _, path := range [...]string{"etc/os-release", "usr/lib/os-release"} {
		b, err := file(root, path, maxSmall)
		if err != nil || b != nil {
			return parseOSRelease(string(b)), err
		}
	}
	return Distro{}, nil
}

// parseOSRelease reads lines of NAME=value in the quoting of the shell.
func parseOSRelease(text string) (d Distro) {
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		value = printable(unquote(value))
		switch name {
		case "ID":
			d.ID = value
		case "VERSION_ID":
			d.VersionID = value
		case "PRETTY_NAME":
			d.Name = value
		}
	}
	return d
}

// unquote takes off the quotes of a shell word, and its backslashes.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
