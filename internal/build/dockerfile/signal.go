package dockerfile

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// validSignal reports whether s is a signal of Linux: a number, a name with or
// without SIG, or a real-time signal counted from either end (signal(7)). What
// it means is looked up when a container is stopped.
func validSignal(s string) bool {
	if n, err := strconv.Atoi(s); err == nil {
		return n > 0 && n <= 64
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	const between = 64 - 34 // from SIGRTMIN to SIGRTMAX
	for _, end := range [...]struct{ name, sign string }{{"RTMIN", "+"}, {"RTMAX", "-"}} {
		if rest, ok := strings.CutPrefix(name, end.name); ok {
			rest, signed := strings.CutPrefix(rest, end.sign)
			n, err := strconv.Atoi(rest)
			return !signed && rest == "" || signed && err == nil && n > 0 && n <= between
		}
	}
	return unix.SignalNum("SIG"+name) != 0 || name == "CLD"
}
