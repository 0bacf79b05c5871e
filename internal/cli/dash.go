package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Articles and chat programs turn "--pid" into "–pid" with an en dash (U+2013),
// sometimes an em dash (U+2014). A word that begins with one is never an image
// or a container, so it is read as the flag that was meant, and that is said.

// plainDash returns the flag meant by a pasted word: "--name" if fs has a flag
// of that name, else the short flags "-it". ok is false if arg has no such dash.
func plainDash(fs *pflag.FlagSet, arg string) (flag string, ok bool) {
	rest, found := strings.CutPrefix(arg, "–")
	if !found {
		rest, found = strings.CutPrefix(arg, "—")
	}
	if !found || rest == "" {
		return "", false
	}
	rest = strings.TrimLeft(rest, "-–—") // "––pid" and "–-pid" mean the same
	name, _, _ := strings.Cut(rest, "=")
	if len(name) > 1 && fs.Lookup(name) != nil {
		return "--" + rest, true
	}
	return "-" + rest, true
}

// explainDash says what was read.
func explainDash(w io.Writer, from, to string) {
	fmt.Fprintf(w, "berth: read %q, which begins with a dash that is not a hyphen, as %q\n", from, to) //nolint:errcheck // a note
}
