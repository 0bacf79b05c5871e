package reference

import "strings"

// isIdentifier reports whether s is a full image id: 64 lower-case hex digits.
// No repository may be called so, since an id and a name are typed in the same place.
func isIdentifier(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isDigit(c) && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// validDomain accepts host[:port]; the host is a DNS name, an IPv4 address or
// an IPv6 address in brackets.
func validDomain(s string) bool {
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 2 || !validIPv6(s[1:end]) {
			return false
		}
		return end == len(s)-1 || s[end+1] == ':' && validPort(s[end+2:])
	}
	host, port, ok := strings.Cut(s, ":")
	if ok && !validPort(port) {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

// validIPv6 is as loose as Docker's grammar: hex digits and colons; whether it
// is an address shows when it is dialled.
func validIPv6(s string) bool {
	for i := range len(s) {
		if !isHex(s[i]) && s[i] != ':' {
			return false
		}
	}
	return true
}

func validPort(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return s != ""
}

func validLabel(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}

// validPath accepts elements divided by slashes. Inside an element, runs of
// lower-case letters and digits are divided by one dot, one or two underscores,
// or any number of dashes.
func validPath(s string) bool {
	for element := range strings.SplitSeq(s, "/") {
		if !validElement(element) {
			return false
		}
	}
	return true
}

func validElement(s string) bool {
	for i := 0; ; {
		start := i
		for i < len(s) && isLowerAlnum(s[i]) {
			i++
		}
		switch {
		case i == start:
			return false
		case i == len(s):
			return true
		}
		switch s[i] {
		case '.':
			i++
		case '_':
			i++
			if i < len(s) && s[i] == '_' {
				i++
			}
		case '-':
			for i < len(s) && s[i] == '-' {
				i++
			}
		default:
			return false
		}
	}
}

// ValidTag reports whether s may be a tag: up to 128 letters, digits,
// underscores, dots and dashes, not beginning with a dot or a dash.
func ValidTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// looksLikeDigest accepts algorithm:hex with 32 hex digits or more. Whether
// berth supports the algorithm is asked later, so that the error can say so.
func looksLikeDigest(s string) bool {
	algorithm, sum, ok := strings.Cut(s, ":")
	if !ok || len(sum) < 32 {
		return false
	}
	for i := range len(sum) {
		if !isHex(sum[i]) {
			return false
		}
	}
	begin := true // of a part of the algorithm's name
	for i := range len(algorithm) {
		c := algorithm[i]
		switch {
		case isLetter(c):
			begin = false
		case begin:
			return false
		case isDigit(c):
		case c == '-' || c == '_' || c == '+' || c == '.':
			begin = true
		default:
			return false
		}
	}
	return !begin
}

func isDigit(c byte) bool      { return c >= '0' && c <= '9' }
func isLetter(c byte) bool     { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isAlnum(c byte) bool      { return isDigit(c) || isLetter(c) }
func isLowerAlnum(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'z' }
func isHex(c byte) bool        { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
