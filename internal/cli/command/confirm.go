package command

import (
	"bufio"
	"fmt"
	"strings"
)

// Confirm asks on stdout whether to go on and reads the answer from stdin.
// Anything but y or yes is no, also the end of the input.
func Confirm(env *Env, warning string) bool {
	fmt.Fprintf(env.Out, "WARNING! %s\nAre you sure you want to continue? [y/N] ", warning) //nolint:errcheck // the answer decides
	line, _ := bufio.NewReader(env.In).ReadString('\n')                                     // an input that ends says no
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

// PrintPruned lists what a prune removed under a title, and nothing if that is nothing.
func PrintPruned(env *Env, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(env.Out, title) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
	for _, l := range lines {
		fmt.Fprintln(env.Out, l) //nolint:errcheck // as above
	}
	fmt.Fprintln(env.Out) //nolint:errcheck // as above
}
