package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"berth/internal/engine"
	"berth/internal/errdefs"
)

// PrintError writes err as "berth: <message>" and, where a next step is known,
// a second line "hint: <step>".
func PrintError(w io.Writer, err error) {
	fmt.Fprintf(w, "berth: %v\n", err) //nolint:errcheck // stderr is the last resort
	hint := errdefs.HintOf(err)
	var usage *UsageError
	if errors.As(err, &usage) {
		hint = usage.Hint
		if hint == "" {
			hint = "see '" + usage.Path + " --help'"
		}
	}
	if hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint) //nolint:errcheck // as above
	}
}

// parallel bounds how many containers a verb with many arguments acts on at once.
const parallel = 32

// ForEach is the work of a verb that does one thing to each of its arguments: see Each.
func ForEach(env *Env, act func(ctx context.Context, e *engine.Engine, ref string) (string, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		e, err := env.Open(cmd.Context())
		if err != nil {
			return err
		}
		return Each(env, args, func(ref string) (string, error) { return act(cmd.Context(), e, ref) })
	}
}

// Each calls act for every ref, several at a time, and prints for each, in the
// order given, what act returned or its error. It returns an ExitError if any failed.
func Each(env *Env, refs []string, act func(ref string) (string, error)) error {
	type result struct {
		line string
		err  error
	}
	results := make([]chan result, len(refs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i, ref := range refs {
		results[i] = make(chan result, 1)
		wg.Go(func() {
			slots <- struct{}{}
			line, err := act(ref)
			<-slots
			results[i] <- result{line, err}
		})
	}
	failed := false
	for _, c := range results {
		r := <-c
		if r.err != nil {
			failed = true
			PrintError(env.Err, r.err)
			continue
		}
		if r.line != "" {
			fmt.Fprintln(env.Out, r.line) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
		}
	}
	wg.Wait()
	if failed {
		return ExitError{1}
	}
	return nil
}
