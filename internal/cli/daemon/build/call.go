package build

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"berth/internal/build/dockerfile"
	"berth/internal/build/plan"
)

// targets is the answer to --call=targets: the stages that can be built.
func targets(f *dockerfile.File) string {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 10, 1, 3, ' ', 0)
	fmt.Fprintln(table, "TARGET\tDESCRIPTION") //nolint:errcheck // a strings.Builder
	stages := f.Stages()
	for i, s := range stages {
		name := s.Name
		if name == "" {
			name = itoa(i)
		}
		if i == len(stages)-1 {
			name += " (default)"
		}
		fmt.Fprintf(table, "%s\t%s\n", name, s.Comment) //nolint:errcheck // as above
	}
	table.Flush() //nolint:errcheck // as above
	return b.String()
}

// remarks is the answer to --check.
func remarks(warnings []plan.Warning, name string) *made {
	if len(warnings) == 0 {
		return &made{text: "Check complete, no warnings found.\n"}
	}
	var b strings.Builder
	noun := "warnings have"
	if len(warnings) == 1 {
		noun = "warning has"
	}
	fmt.Fprintf(&b, "Check complete, %d %s been found!\n", len(warnings), noun)
	for _, w := range warnings {
		fmt.Fprintf(&b, "\nWARNING: %s", w.Rule)
		if w.URL != "" {
			fmt.Fprintf(&b, " - %s", w.URL)
		}
		fmt.Fprintf(&b, "\n%s\n%s:%d\n", w.Text, name, w.Line)
		if w.Detail != "" {
			fmt.Fprintf(&b, "%s\n", w.Detail)
		}
	}
	return &made{text: b.String(), failed: true}
}

// outline is the answer to --call=outline: what the target depends on.
func outline(p *plan.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "TARGET: %s\n", p.Target().Name)
	secrets, agents := map[string]bool{}, map[string]bool{}
	for _, s := range p.Stages {
		for _, step := range s.Steps {
			if run, ok := step.Op.(*plan.Run); ok {
				for _, m := range run.Mounts {
					switch m.Type {
					case plan.MountSecret:
						secrets[m.ID] = secrets[m.ID] || m.Required
					case plan.MountSSH:
						agents[m.ID] = agents[m.ID] || m.Required
					}
				}
			}
		}
	}
	list := func(title string, ids map[string]bool) {
		if len(ids) == 0 {
			return
		}
		fmt.Fprintf(&b, "\n%-20s REQUIRED\n", title)
		names := make([]string, 0, len(ids))
		for id := range ids {
			names = append(names, id)
		}
		slices.Sort(names)
		for _, id := range names {
			mark := ""
			if ids[id] {
				mark = "true"
			}
			fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-20s %s", id, mark), " "))
		}
	}
	list("SECRET", secrets)
	list("SSH", agents)
	return b.String()
}
