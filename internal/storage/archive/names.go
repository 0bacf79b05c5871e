package archive

import (
	"strconv"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/storage/archive/ustar"
)

const (
	maxPath      = 4095 // PATH_MAX less the NUL
	maxComponent = 255  // NAME_MAX
)

// cleanName turns the name of an entry into a path relative to the root without
// empty, "." and ".." elements; "" is the root. A leading slash means the root,
// as for a process inside it. A relative name that climbs above the root is refused.
//
// This is about words only; what the names on the way really are (links) is
// seen to when the path is opened.
func cleanName(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", errdefs.New(errdefs.InvalidArgument, "the name holds a NUL byte")
	}
	absolute := strings.HasPrefix(name, "/")
	rest := strings.Trim(name, "/")
	if isClean(rest) {
		return rest, checkLength(rest)
	}
	var kept []string
	for part := range strings.SplitSeq(rest, "/") {
		switch part {
		case "", ".":
		case "..":
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			} else if !absolute {
				return "", errdefs.New(errdefs.InvalidArgument, "the name leads out of the layer")
			}
		default:
			kept = append(kept, part)
		}
	}
	rest = strings.Join(kept, "/")
	return rest, checkLength(rest)
}

// isClean reports whether the elements of rest are all proper names.
func isClean(rest string) bool {
	start := 0
	for i := 0; i <= len(rest); i++ {
		if i < len(rest) && rest[i] != '/' {
			continue
		}
		switch rest[start:i] {
		case "", ".", "..":
			return false
		}
		start = i + 1
	}
	return true
}

func checkLength(name string) error {
	if len(name) > maxPath {
		return ustar.Exceeded("bytes in a path", maxPath)
	}
	for n := 0; len(name) > maxComponent; name = name[n+1:] {
		if n = strings.IndexByte(name, '/'); n > maxComponent || n < 0 {
			return ustar.Exceeded("bytes in a file name", maxComponent)
		}
	}
	return nil
}

// splitLast splits a clean name before its last element.
func splitLast(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name
	}
	return name[:i], name[i+1:]
}

// quote shows a name in an error, shortened and with control characters escaped.
func quote(name string) string {
	if len(name) > 200 {
		name = name[:100] + "..." + name[len(name)-90:]
	}
	return strconv.Quote(name)
}
