package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/cli/terminal"
	"berth/internal/engine"
	"berth/internal/errdefs"
)

// show passes an event to the printer, unless somebody has taken the screen.
func (b *build) show(e progress.Event) {
	b.silence.RLock()
	defer b.silence.RUnlock()
	if !b.silent {
		b.printer.Event(b.original(plainError(e)))
	}
}

// lookInto opens a shell in the files of a step whose program failed, in place
// of the program: the same mounts, secrets, user, directory and network.
func (b *build) lookInto(ctx context.Context, run *runner, r *solve.RunRequest, cause error) {
	b.silence.Lock()
	b.silent = true
	b.silence.Unlock()
	b.printer.Close()
	b.tellFailure()
	say := func(format string, args ...any) {
		fmt.Fprintf(b.Env.Err, format+"\n", args...) //nolint:errcheck // stderr is the last resort
	}
	say("The step failed: %v.", cause)
	say("This is a shell in its files, as the program left them. The build ends with the shell.")
	say("To run the program again: %s", quoted(r.Step.Args))
	if err := run.shell(ctx, r, b.Env.Streams); err != nil {
		command.PrintError(b.Env.Err, errdefs.Wrap(err, "open", "a shell in the files of the step"))
	}
}

// shell lets the user talk to a shell in the files of a step.
func (r *runner) shell(ctx context.Context, req *solve.RunRequest, s *streams.Streams) error {
	q, done, err := r.request(req)
	defer done()
	if err != nil {
		return err
	}
	q.Args, q.Stdout, q.Stderr = []string{shellOf(req.Step.Args)}, nil, nil
	if !slices.ContainsFunc(q.Env, func(e string) bool { return strings.HasPrefix(e, "TERM=") }) {
		q.Env = append(q.Env, "TERM=xterm")
	}
	in, out := streams.Terminal(s.In), streams.Terminal(s.Out)
	rows, cols := terminal.Size(out)
	restore, err := terminal.Raw(in)
	if err != nil {
		return err
	}
	defer restore()
	q.Terminal = &engine.StepTerminal{
		In: streams.Interruptible(ctx, in), Out: out, Rows: rows, Cols: cols,
		Follow: func(resize func(rows, cols uint16) error) func() { return terminal.Follow(ctx, out, resize) },
	}
	_, err = r.engine.Containers.RunStep(ctx, q) // how the shell ended is of no importance
	return err
}

// shellOf is the shell that runs a step: the one of its text form ("/bin/bash -c
// TEXT"), or the one that every image with a shell has.
func shellOf(args []string) string {
	if n := len(args); n >= 3 && strings.HasPrefix(args[n-2], "-") && strings.HasSuffix(args[n-2], "c") {
		return args[0]
	}
	return "/bin/sh"
}

// quoted writes a command so that a shell reads the same words.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = a
		if a == "" || strings.Trim(a, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=+-,@%") != "" {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
