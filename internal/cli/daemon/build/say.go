package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"berth/internal/build/dockerfile"
	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/cli/command"
	"berth/internal/cli/daemon/build/printer"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
	"berth/internal/units"
)

// printing says how the progress is shown.
func (b *build) printing() printer.Options {
	o := printer.Options{Mode: b.mode, Out: b.Env.Out, Err: b.Env.Err}
	out := b.Env.Err
	if b.mode == printer.Classic {
		out = b.Env.Out
	}
	if f := streams.Terminal(out); f != nil {
		o.Size = func() (int, int) {
			w, h, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80, 24
			}
			return w, h
		}
	}
	noColor, _ := b.Env.LookupEnv("NO_COLOR")
	name, _ := b.Env.LookupEnv("TERM")
	o.Color = noColor == "" && name != "dumb"
	if name == "dumb" && b.mode == printer.Auto {
		o.Size = nil // it cannot move the cursor
	}
	return o
}

// plainError takes the place in the Dockerfile out of a vertex's error: the
// vertex is the place.
func plainError(e progress.Event) progress.Event {
	f, ok := e.(*progress.Finished)
	var at *solve.StepError
	if !ok || f.Err == nil || !errors.As(f.Err, &at) {
		return e
	}
	plain := *f
	plain.Err = at.Err
	return &plain
}

// original puts an instruction as it was written in place of its meaning, where
// variables have values: the classic form shows that. A trigger (ONBUILD) is
// written in no line of this file.
func (b *build) original(e progress.Event) progress.Event {
	s, ok := e.(*progress.Started)
	if !ok || b.mode != printer.Classic || s.Number == 0 {
		return e
	}
	written := b.file.Original(s.Line)
	word, rest, _ := strings.Cut(written, " ")
	if meant, _, _ := strings.Cut(s.Text, " "); !strings.EqualFold(word, meant) {
		return e
	}
	as := *s
	as.Text = strings.ToUpper(word) + " " + rest
	return &as
}

// warn keeps a remark for the end.
func (b *build) warn(s string) {
	b.warning.Lock()
	defer b.warning.Unlock()
	b.warnings = append(b.warnings, s)
}

// warnPlan keeps the linter's remarks, and the arguments that were for nothing.
func (b *build) warnPlan(p *plan.Plan) {
	if len(p.UnusedArgs) > 0 {
		b.warn(fmt.Sprintf("One or more build-args [%s] were not consumed", strings.Join(p.UnusedArgs, " ")))
	}
	for _, w := range p.Warnings {
		if b.mode == printer.Classic {
			break // Docker's first builder had no linter, and its output is read by programs
		}
		b.warn(fmt.Sprintf("%s: %s (line %d)", w.Rule, w.Detail, w.Line))
	}
}

// announce says in the classic form how large the context is.
func (b *build) announce() {
	if b.mode != printer.Classic || b.call != "build" {
		return
	}
	fmt.Fprintf(b.Env.Out, "Sending build context to Docker daemon  %s\n", units.HumanSize(float64(b.contextSize()))) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
}

// tarBlock is the unit of a tar archive, in bytes.
const tarBlock = 512

// contextSize is how long a tar archive of the context would be: what Docker
// sends. berth sends nothing; the figure tells whether a .dockerignore is missing.
func (b *build) contextSize() (n int64) {
	n = 2 * tarBlock // the end
	if st, err := os.Stat(b.context); err != nil || !st.IsDir() {
		return n + tarBlock + (int64(len(b.text.text))+tarBlock-1)/tarBlock*tarBlock
	}
	filepath.WalkDir(b.context, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // what cannot be read is not counted
		rel, relErr := filepath.Rel(b.context, path)
		if err != nil || relErr != nil || rel == "." {
			return nil
		}
		ignored, skip := b.contexts.main.Ignored(rel, d.IsDir())
		if skip && d.IsDir() {
			return filepath.SkipDir
		}
		if ignored {
			return nil
		}
		n += tarBlock
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += (info.Size() + tarBlock - 1) / tarBlock * tarBlock
		}
		return nil
	})
	return n
}

// remark prints the remarks, each once.
func (b *build) remark() {
	if b.mode == printer.Quiet || b.mode == printer.RawJSON {
		return
	}
	out, prefix := b.Env.Err, "WARNING: "
	if b.mode == printer.Classic {
		out, prefix = b.Env.Out, "[Warning] "
	}
	said := map[string]bool{}
	for _, w := range b.warnings {
		if !said[w] {
			fmt.Fprintln(out, prefix+w) //nolint:errcheck // as above
		}
		said[w] = true
	}
}

// explain prints what is known of a failure, and returns the error that is
// printed last.
func (b *build) explain(err error) error {
	var at *solve.StepError
	if b.mode == printer.RawJSON {
		if errors.As(err, &at) {
			return &errdefs.Error{Kind: errdefs.KindOf(err), Err: err, Hint: hintOf(at)}
		}
		return err
	}
	var text *dockerfile.Error
	var process *processError
	isProcess := errors.As(err, &process)
	errors.As(err, &at)
	if b.mode == printer.Classic {
		if isProcess {
			return &errdefs.Error{Kind: errdefs.KindOf(err), Err: errors.New(process.classic()), Hint: hintOf(at)}
		}
	} else if isProcess {
		b.tellFailure()
	}
	switch {
	case at != nil:
		if b.mode != printer.Classic {
			fmt.Fprint(b.Env.Err, b.file.Excerpt(at.Line, at.EndLine)) //nolint:errcheck // stderr is the last resort
		}
		return &errdefs.Error{Kind: errdefs.KindOf(err), Err: fmt.Errorf("failed to build: %w", at.Err), Hint: hintOf(at)}
	case errors.As(err, &text):
		fmt.Fprint(b.Env.Err, text.Excerpt()) //nolint:errcheck // as above
	}
	return err
}

// hintOf is the next step after a failed one: the error's own, or a look into the
// files as they were.
func hintOf(at *solve.StepError) string {
	switch {
	case at == nil:
		return ""
	case errdefs.HintOf(at.Err) != "":
		return errdefs.HintOf(at.Err)
	case at.After != "":
		return fmt.Sprintf("berth run --rm -it %s sh shows the files as the program left them", at.After)
	case at.Before != "":
		return fmt.Sprintf("berth run --rm -it %s sh shows the files as they were before this step", at.Before)
	}
	return ""
}

// tellFailure shows the last lines of the step that failed, once.
func (b *build) tellFailure() {
	if f := b.printer.Failure(); f != nil && !b.told {
		b.told = true
		f.Print(b.Env.Err)
	}
}

// tell prints what standard output is for.
func (b *build) tell(m *made) error {
	if m.text != "" {
		if _, err := fmt.Fprint(b.Env.Out, m.text); err != nil {
			return err
		}
	}
	switch {
	case m.failed:
		return command.ExitError{Code: 1}
	case b.printID && m.id != "" && !b.stdoutTaken():
		_, err := fmt.Fprintln(b.Env.Out, m.id)
		return err
	case b.mode == printer.Classic && m.stored:
		fmt.Fprintf(b.Env.Out, "Successfully built %s\n", m.id.Hex()[:12]) //nolint:errcheck // as above
		for _, t := range b.tags {
			fmt.Fprintf(b.Env.Out, "Successfully tagged %s\n", t.Familiar()) //nolint:errcheck // as above
		}
	}
	return nil
}
