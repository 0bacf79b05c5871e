package command

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func itoa(n int) string { return strconv.Itoa(n) }

// ExitError ends the process with Code and prints nothing: the code of a
// container's program, or an error that was printed already.
type ExitError struct{ Code int }

// Error names the code; it is never printed.
func (e ExitError) Error() string { return "exit status " + strconv.Itoa(e.Code) }

// UsageError is a command line that cannot be understood.
type UsageError struct {
	Path  string // "berth run"
	Err   error
	Hint  string // a better next step than the command's help, or ""
	Flags bool   // it is about a flag: exit code 125 as Docker's, else 1
}

// Error returns the message.
func (e *UsageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UsageError) Unwrap() error { return e.Err }

// Setup marks an error made before the engine did anything: a flag value that
// is well formed alone and impossible beside the others. For run and create its
// exit code is 125.
type Setup struct{ Err error }

// Error returns the message.
func (e *Setup) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Setup) Unwrap() error { return e.Err }

// Refuse returns a Setup error with a formatted message.
func Refuse(format string, args ...any) error { return &Setup{fmt.Errorf(format, args...)} }

// NoArgs refuses any argument.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return count(cmd, "accepts no arguments")
	}
	return nil
}

// Exactly asks for n arguments.
func Exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return count(cmd, "requires "+plural(n))
		}
		return nil
	}
}

// AtLeast asks for n arguments or more.
func AtLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return count(cmd, "requires at least "+plural(n))
		}
		return nil
	}
}

// AtMost asks for n arguments or fewer.
func AtMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return count(cmd, "requires at most "+plural(n))
		}
		return nil
	}
}

// Between asks for lo to hi arguments.
func Between(lo, hi int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < lo || len(args) > hi {
			return count(cmd, fmt.Sprintf("requires at least %s and at most %s", plural(lo), plural(hi)))
		}
		return nil
	}
}

func plural(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return strconv.Itoa(n) + " arguments"
}

func count(cmd *cobra.Command, what string) error {
	return &UsageError{
		Path: cmd.CommandPath(),
		Err:  fmt.Errorf("'%s' %s", cmd.CommandPath(), what),
		Hint: "usage: " + cmd.UseLine() + " (more: " + cmd.CommandPath() + " --help)",
	}
}
