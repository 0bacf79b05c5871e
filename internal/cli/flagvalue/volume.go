package flagvalue

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// ParseVolume parses a -v: "/dst" is an anonymous volume (bind is ""),
// "source:/dst[:options]" a bind mount or a named volume. A source that begins
// with "." is taken from the working directory; bind is then ready for a record.
func ParseVolume(s string) (bind, anonymous string, err error) {
	parts := strings.Split(s, ":")
	if len(parts) > 3 {
		return "", "", fmt.Errorf("invalid volume specification: '%s'", s)
	}
	for _, p := range parts {
		if p == "" {
			return "", "", fmt.Errorf("invalid volume specification: '%s': empty section between colons", s)
		}
	}
	dst := parts[0]
	if len(parts) > 1 {
		dst = parts[1]
	}
	switch {
	case !path.IsAbs(dst):
		return "", "", fmt.Errorf("invalid volume specification: '%s': invalid mount path: '%s' mount path must be absolute", s, dst)
	case path.Clean(dst) == "/":
		return "", "", fmt.Errorf("invalid volume specification: '%s': destination can't be '/'", s)
	case len(parts) == 1:
		return "", dst, nil
	case len(parts) == 3:
		if err := checkModes(parts[2]); err != nil {
			return "", "", fmt.Errorf("invalid volume specification: '%s': %w", s, err)
		}
	}
	if err := volumeSource(&parts[0]); err != nil {
		return "", "", err
	}
	return strings.Join(parts, ":"), "", nil
}

// volumeSource makes a relative path absolute and checks a volume's name.
func volumeSource(src *string) error {
	switch {
	case path.IsAbs(*src):
	case strings.HasPrefix(*src, "."):
		abs, err := filepath.Abs(*src)
		if err != nil {
			return err
		}
		*src = abs
	case !validName(*src):
		return fmt.Errorf("create %s: \"%s\" includes invalid characters for a local volume name, only "+
			"\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", *src, *src)
	}
	return nil
}

func validName(s string) bool {
	for i, c := range s {
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return len(s) > 1
}

// checkModes checks the third part of a -v.
func checkModes(modes string) error {
	var rw, propagation int
	for _, m := range strings.Split(modes, ",") {
		switch m {
		case "ro", "rw":
			rw++
		case "z", "Z", "nocopy", "cached", "consistent", "delegated":
		case "private", "rprivate", "shared", "rshared", "slave", "rslave":
			propagation++
		default:
			return fmt.Errorf("invalid mode: %s", m)
		}
	}
	if rw > 1 || propagation > 1 {
		return fmt.Errorf("invalid mode: %s", modes)
	}
	return nil
}
