package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/output"
	"berth/internal/cli/streams"
	"berth/internal/engine"
	"berth/internal/units"
)

type statsOptions struct {
	all, noStream, noTrunc bool
	format                 string
}

// NewStats is `berth stats`.
func NewStats(env *command.Env) *cobra.Command {
	var o statsOptions
	cmd := &cobra.Command{
		Use:               "stats [OPTIONS] [CONTAINER...]",
		Short:             "Show what containers use of the machine, live",
		Example:           "berth stats\nberth stats --no-stream web db",
		RunE:              func(cmd *cobra.Command, args []string) error { return stats(cmd.Context(), env, &o, args) },
		ValidArgsFunction: completeContainers(env, running),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.all, "all", "a", false, "Also containers that do not run")
	fs.BoolVar(&o.noStream, "no-stream", false, "Print one sample and end")
	fs.BoolVar(&o.noTrunc, "no-trunc", false, "Do not shorten ids")
	fs.StringVar(&o.format, "format", "", output.FormatUsage)
	return cmd
}

func stats(ctx context.Context, env *command.Env, o *statsOptions, refs []string) error {
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := command.Interruptible(ctx)
	defer cancel()
	live := !o.noStream && streams.Terminal(env.Out) != nil
	err = e.Containers.Stats(ctx, refs, o.all, !o.noStream, func(list []engine.Stats) error {
		return printStats(env.Out, o, list, live)
	})
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil // Ctrl-C is how a live table ends
	}
	return err
}

// Terminal control (ECMA-48): the table is drawn over the one before, each line
// cleared to its end and the rest of the screen cleared, so nothing flickers.
const (
	home      = "\x1b[H"
	clearLine = "\x1b[K"
	clearDown = "\x1b[J"
)

func printStats(w io.Writer, o *statsOptions, list []engine.Stats, live bool) error {
	rows := make([]statsRow, len(list))
	for i := range list {
		rows[i] = statsRow{&list[i], !o.noTrunc}
	}
	var b bytes.Buffer
	if err := output.List(&b, output.Format(o.format), statsColumns(), statsHeadings(), rows); err != nil {
		return err
	}
	text := b.Bytes()
	if live {
		text = bytes.ReplaceAll(text, []byte("\n"), []byte(clearLine+"\n"))
		text = append([]byte(home), append(text, clearDown...)...)
	}
	_, err := w.Write(text)
	return err
}

func statsColumns() []output.Column[statsRow] {
	return []output.Column[statsRow]{
		{Heading: "CONTAINER ID", Value: statsRow.ID},
		{Heading: "NAME", Value: statsRow.Name},
		{Heading: "CPU %", Value: statsRow.CPUPerc},
		{Heading: "MEM USAGE / LIMIT", Value: statsRow.MemUsage},
		{Heading: "MEM %", Value: statsRow.MemPerc},
		{Heading: "NET I/O", Value: statsRow.NetIO},
		{Heading: "BLOCK I/O", Value: statsRow.BlockIO},
		{Heading: "PIDS", Value: statsRow.PIDs},
	}
}

func statsHeadings() output.Headings {
	return output.Headings{
		"Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
		"MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
	}
}

// statsRow is a row of stats; its methods are the fields of templates.
type statsRow struct {
	s     *engine.Stats
	trunc bool
}

// MarshalJSON has all fields.
func (r statsRow) MarshalJSON() ([]byte, error) { return output.RowJSON(r) }

// Container is the container's id, as ID.
func (r statsRow) Container() string { return r.ID() }

// ID is the container's id.
func (r statsRow) ID() string { return output.ShortID(r.s.ID, r.trunc) }

// Name is the container's name.
func (r statsRow) Name() string { return r.s.Name }

// CPUPerc is the share of one core; two busy cores are 200 %.
func (r statsRow) CPUPerc() string { return fmt.Sprintf("%.2f%%", r.s.CPUPercent) }

// MemUsage is the memory in use and its limit.
func (r statsRow) MemUsage() string {
	return units.FormatBytes1024(float64(r.s.MemoryUsage)) + " / " + units.FormatBytes1024(float64(r.s.MemoryLimit))
}

// MemPerc is the memory in use as a share of the limit.
func (r statsRow) MemPerc() string {
	if r.s.MemoryLimit == 0 {
		return "0.00%"
	}
	return fmt.Sprintf("%.2f%%", float64(r.s.MemoryUsage)/float64(r.s.MemoryLimit)*100)
}

// NetIO is what was received and sent.
func (r statsRow) NetIO() string { return pair(r.s.NetRx, r.s.NetTx) }

// BlockIO is what was read from and written to disks.
func (r statsRow) BlockIO() string { return pair(r.s.BlockRead, r.s.BlockWrite) }

// PIDs is the number of processes and threads.
func (r statsRow) PIDs() string { return strconv.FormatUint(r.s.PIDs, 10) }

func pair(a, b uint64) string {
	return units.FormatBytes1000(float64(a)) + " / " + units.FormatBytes1000(float64(b))
}
