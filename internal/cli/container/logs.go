package container

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/engine"
	"berth/internal/errdefs"
	"berth/internal/units"
)

type logsOptions struct {
	follow, timestamps, details bool
	tail, since, until          string
}

// stampLayout is RFC 3339 with all nine digits, so that columns stay aligned.
const stampLayout = "2006-01-02T15:04:05.000000000Z07:00"

// NewLogs is `berth logs`.
func NewLogs(env *command.Env) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use:               "logs [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Print what containers wrote",
		Example:           "berth logs -f --tail 20 web\nberth logs --since 10m web db",
		Args:              command.AtLeast(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return logs(cmd.Context(), env, &o, args) },
		ValidArgsFunction: completeContainers(env, anyState),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.follow, "follow", "f", false, "Go on with new lines until the container ends")
	fs.StringVarP(&o.tail, "tail", "n", "all", "Only the last n lines")
	fs.StringVar(&o.since, "since", "", "Only lines since a time (2006-01-02T15:04:05Z) or a while ago (42m)")
	fs.StringVar(&o.until, "until", "", "Only lines before a time or a while ago")
	fs.BoolVarP(&o.timestamps, "timestamps", "t", false, "Begin each line with its time")
	fs.BoolVar(&o.details, "details", false, "Accepted for compatibility; has no effect")
	fs.Lookup("details").Hidden = true
	return cmd
}

func (o *logsOptions) request(env *command.Env) (engine.LogOptions, error) {
	lo := engine.LogOptions{Follow: o.follow, Tail: -1, Stdout: true, Stderr: true}
	var err error
	if lo.Since, err = units.ParseTime(o.since, env.Now()); err != nil {
		return lo, errdefs.New(errdefs.InvalidArgument, "--since: %w", err)
	}
	if lo.Until, err = units.ParseTime(o.until, env.Now()); err != nil {
		return lo, errdefs.New(errdefs.InvalidArgument, "--until: %w", err)
	}
	if o.tail != "all" && o.tail != "" {
		n, err := strconv.Atoi(o.tail)
		if err != nil {
			return lo, errdefs.New(errdefs.InvalidArgument, "--tail: %q is neither a number nor \"all\"", o.tail)
		}
		lo.Tail = max(n, -1)
	}
	return lo, nil
}

func logs(ctx context.Context, env *command.Env, o *logsOptions, refs []string) error {
	lo, err := o.request(env)
	if err != nil {
		return err
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	p := newLogPrinter(env.Out, env.Err, o.timestamps, o.follow)
	var wg sync.WaitGroup
	errs := make([]error, len(refs))
	width := longest(refs)
	for i, ref := range refs {
		prefix := ""
		if len(refs) > 1 {
			prefix = ref + strings.Repeat(" ", width-len(ref)) + " | "
		}
		read := func() {
			errs[i] = e.Containers.Logs(ctx, ref, lo, func(l engine.LogLine) error { return p.print(prefix, l) })
		}
		if o.follow {
			wg.Go(read)
		} else {
			read()
		}
	}
	wg.Wait()
	return errors.Join(append(errs, p.flush())...)
}

func longest(list []string) int {
	n := 0
	for _, s := range list {
		n = max(n, len(s))
	}
	return n
}

// logPrinter writes lines of several containers to two streams, whole line by whole line.
type logPrinter struct {
	mu         sync.Mutex // guards the writers
	out, err   *bufio.Writer
	timestamps bool
	live       bool // every line at once
	inLine     bool // the last part written did not end its line
}

func newLogPrinter(out, errw io.Writer, timestamps, live bool) *logPrinter {
	return &logPrinter{out: bufio.NewWriterSize(out, 1<<16), err: bufio.NewWriter(errw), timestamps: timestamps, live: live}
}

func (p *logPrinter) print(prefix string, l engine.LogLine) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	w, other := p.out, p.err
	if l.Stderr {
		w, other = p.err, p.out
	}
	if other.Buffered() > 0 { // keep the order between the streams when both go to one place
		if err := other.Flush(); err != nil {
			return err
		}
	}
	if !p.inLine {
		if p.timestamps {
			prefix += l.Time.UTC().Format(stampLayout) + " "
		}
		w.WriteString(prefix) //nolint:errcheck // bufio keeps the error for the next call
	}
	_, err := w.Write(l.Data)
	p.inLine = len(l.Data) > 0 && l.Data[len(l.Data)-1] != '\n'
	if p.live && err == nil {
		err = w.Flush()
	}
	return err
}

func (p *logPrinter) flush() error { return errors.Join(p.out.Flush(), p.err.Flush()) }
