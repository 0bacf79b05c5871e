package cli

import (
	"errors"

	"berth/internal/cli/command"
	"berth/internal/errdefs"
)

// The exit codes of berth itself; a container's program has its own.
const (
	exitOK            = 0
	exitFailed        = 1
	exitEngine        = 125 // run: the engine failed before the program ran; every verb: a bad flag
	exitNotExecutable = 126 // run, exec: the program cannot be executed
	exitNoCommand     = 127 // run, exec: the program does not exist
)

// exitCode maps what verb (a name of the top level, as "run") returned to the
// code of the process. It is the only place where kinds of errors become codes.
// The codes are Docker's: only run and exec tell failures of the program's start
// apart, only run marks those of the engine, and only run and create mark
// flags that are impossible together.
func exitCode(verb string, err error) int {
	if err == nil {
		return exitOK
	}
	var exit command.ExitError
	if errors.As(err, &exit) {
		return exit.Code
	}
	var usage *command.UsageError
	if errors.As(err, &usage) {
		if usage.Flags {
			return exitEngine
		}
		return exitFailed
	}
	if verb == "run" || verb == "exec" {
		switch errdefs.KindOf(err) {
		case errdefs.NotExecutable:
			return exitNotExecutable
		case errdefs.NoCommand:
			return exitNoCommand
		}
	}
	var setup *command.Setup
	if verb == "run" || verb == "create" && errors.As(err, &setup) {
		return exitEngine
	}
	return exitFailed
}
