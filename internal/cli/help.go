package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/cli/streams"
)

// helpWidth wraps the text of flags where no terminal tells its width.
const helpWidth = 100

// printHelp prints what a verb does: usage, one sentence, examples, other names, flags.
func printHelp(w io.Writer, cmd *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s\n\n%s.\n", cmd.UseLine(), cmd.Short)
	if cmd.Example != "" {
		b.WriteString("\nExamples:\n")
		for _, line := range strings.Split(cmd.Example, "\n") {
			b.WriteString("  " + line + "\n")
		}
	}
	if names := otherNames(cmd); len(names) > 0 {
		b.WriteString("\nAlso: " + strings.Join(names, ", ") + "\n")
	}
	if flags := cmd.LocalFlags(); flags.HasAvailableFlags() {
		width := streams.Width(w)
		if width == 0 {
			width = helpWidth
		}
		b.WriteString("\nOptions:\n" + flagUsages(flags, width))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func otherNames(cmd *cobra.Command) []string {
	var names []string
	if full := cmd.Annotations[alsoKnownAs]; full != "" {
		names = append(names, full)
	}
	for _, a := range cmd.Aliases {
		names = append(names, cmd.Parent().CommandPath()+" "+a)
	}
	return names
}

// printNoun lists the verbs of a noun.
func printNoun(w io.Writer, n *noun, build func(*verb) *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: berth %s COMMAND\n\n%s.\n\nCommands:\n", n.name, n.short)
	for i := range n.verbs {
		fmt.Fprintf(&b, "  %-10s %s\n", n.verbs[i].name, build(&n.verbs[i]).Short)
	}
	fmt.Fprintf(&b, "\nMore on a command: berth %s COMMAND --help\n", n.name)
	_, err := io.WriteString(w, b.String())
	return err
}

// isCommon reports whether a verb is among the first ones a newcomer needs.
func isCommon(name string) bool {
	switch name {
	case "run", "exec", "ps", "images", "pull", "logs", "stop", "rm", "inspect", "info", "version":
		return true
	}
	return false
}

// printRoot lists all commands.
func printRoot(w io.Writer, root *cobra.Command, globals string) error {
	var common, groups, others strings.Builder
	for _, c := range root.Commands() {
		line := fmt.Sprintf("  %-10s %s\n", c.Name(), c.Short)
		_, noun := c.Annotations[isNoun]
		switch {
		case noun:
			groups.WriteString(line)
		case isCommon(c.Name()):
			common.WriteString(line)
		default:
			others.WriteString(line)
		}
	}
	_, err := fmt.Fprintf(w, `Usage: berth [OPTIONS] COMMAND

A container engine without a daemon.

Examples:
  berth run hello
  berth run --rm -it alpine sh
  berth ps -a

Common commands:
%s
Groups:
%s
Commands:
%s
Global options:
%s
More on a command: berth COMMAND --help
`, common.String(), groups.String(), others.String(), globals)
	return err
}
