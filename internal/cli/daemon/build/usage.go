package build

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/internal/build/cache"
	"berth/internal/cli/command"
	"berth/internal/cli/output"
	"berth/internal/units"
)

// printUsage prints the items of the cache in buildx's columns, or as blocks of
// all that is known, and the sums.
func printUsage(env *command.Env, items []cache.Item, verbose bool) error {
	var total, free int64
	for i := range items {
		total += items[i].Size
		if items[i].Reclaimable() {
			free += items[i].Size
		}
	}
	if verbose {
		for i := range items {
			describe(env, &items[i])
		}
	} else {
		now := env.Now()
		columns := []output.Column[*cache.Item]{
			{Heading: "ID", Value: short},
			{Heading: "RECLAIMABLE", Value: func(i *cache.Item) string { return strconv.FormatBool(i.Reclaimable()) }},
			{Heading: "SIZE", Value: size},
			{Heading: "LAST ACCESSED", Value: func(i *cache.Item) string { return ago(now, i.LastUsed) }},
		}
		rows := make([]*cache.Item, len(items))
		for i := range items {
			rows[i] = &items[i]
		}
		if err := output.List(env.Out, "", columns, nil, rows); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(env.Out, "Reclaimable:  %s\nTotal:        %s\n", human(free), human(total))
	return err
}

// describe prints one item.
func describe(env *command.Env, i *cache.Item) {
	table := output.NewTable(env.Out)
	line := func(name, value string) { fmt.Fprintf(table, "%s:\t%s\n", name, value) } //nolint:errcheck // Flush tells
	line("ID", i.ID)
	if len(i.Parents) > 0 {
		line("Parents", strings.Join(i.Parents, ", "))
	}
	line("Created at", i.Created.UTC().Format(time.RFC3339Nano))
	line("Mutable", strconv.FormatBool(i.Mutable))
	line("Reclaimable", strconv.FormatBool(i.Reclaimable()))
	line("Shared", strconv.FormatBool(i.Shared))
	line("Size", size(i))
	line("Description", strings.Join(strings.Fields(i.Text), " "))
	line("Last used", ago(env.Now(), i.LastUsed))
	line("Type", string(i.Type))
	fmt.Fprintln(table) //nolint:errcheck // as above
	table.Flush()       //nolint:errcheck // a closed pipe ends the process by SIGPIPE
}

func size(i *cache.Item) string { return human(i.Size) }

func human(n int64) string { return units.HumanSize(float64(n)) }

func ago(now, then time.Time) string { return units.HumanDuration(now.Sub(then)) + " ago" }
