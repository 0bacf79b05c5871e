package printer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// oneLine joins an instruction that goes over several lines, or an error that
// does, into one.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\n\r\t") {
		return s
	}
	return strings.Join(strings.Fields(s), " ")
}

// visible returns what a line shows on a terminal: without escape sequences and
// control characters, which could move the cursor out of the picture, and with
// blanks for tabs. Bytes that are no UTF-8 become question marks.
func visible(line []byte) string {
	var b strings.Builder
	for i := 0; i < len(line); {
		if line[i] == '\x1b' {
			i += escapeLen(line[i:])
			continue
		}
		r, n := utf8.DecodeRune(line[i:])
		i += n
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteByte('?')
		case r == '\t':
			b.WriteString(strings.Repeat(" ", 8-textWidth(b.String())%8))
		case unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// escapeLen is the length of the escape sequence that b begins with (ECMA-48):
// CSI "ESC [ ... letter", OSC "ESC ] ... BEL or ESC \", else ESC and one byte.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch b[1] {
	case '[':
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				return i + 1
			}
		}
		return len(b)
	case ']':
		for i := 2; i < len(b); i++ {
			if b[i] == '\a' {
				return i + 1
			}
			if b[i] == '\x1b' && i+1 < len(b) && b[i+1] == '\\' {
				return i + 2
			}
		}
		return len(b)
	}
	return 2
}

// wide are the characters that take two columns: those of East Asian scripts
// and pictures (Unicode Standard Annex 11, classes W and F, by block).
var wide = [...][2]rune{
	{0x1100, 0x115f}, {0x2e80, 0x303e}, {0x3041, 0xa4cf}, {0xa960, 0xa97f}, {0xac00, 0xd7a3}, {0xf900, 0xfaff},
	{0xfe30, 0xfe6f}, {0xff00, 0xff60}, {0xffe0, 0xffe6}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
}

func runeWidth(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0 // drawn over the one before
	}
	for _, w := range wide {
		if r >= w[0] && r <= w[1] {
			return 2
		}
	}
	return 1
}

// textWidth is how many columns a visible text takes.
func textWidth(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// cut keeps the beginning of a visible text that finds room in width columns.
func cut(s string, width int) string {
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > width {
			return s[:i]
		}
	}
	return s
}
