package build

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"berth/internal/build/dockerfile"
	"berth/internal/build/plan"
)

// The answers to --call, in BuildKit's words: these are its documents, and how
// it prints them (frontend/subrequests there).
type (
	targetList struct {
		Targets []target `json:"targets"`
		Sources [][]byte `json:"sources"`
	}
	target struct {
		Name        string    `json:"name,omitempty"`
		Default     bool      `json:"default,omitempty"`
		Description string    `json:"description,omitempty"`
		Base        string    `json:"base,omitempty"`
		Location    *location `json:"location,omitempty"`
	}

	outlineList struct {
		Name        string       `json:"name,omitempty"`
		Description string       `json:"description,omitempty"`
		Args        []outlineArg `json:"args,omitempty"`
		Secrets     []needed     `json:"secrets,omitempty"`
		SSH         []needed     `json:"ssh,omitempty"`
		Sources     [][]byte     `json:"sources,omitempty"`
	}
	outlineArg struct {
		Name        string    `json:"name"`
		Description string    `json:"description,omitempty"`
		Value       string    `json:"value,omitempty"`
		Location    *location `json:"location,omitempty"`
	}
	needed struct {
		Name     string    `json:"name"`
		Required bool      `json:"required,omitempty"`
		Location *location `json:"location,omitempty"`
	}

	lintResults struct {
		Warnings []lintWarning `json:"warnings"`
		Sources  []lintSource  `json:"sources"`
	}
	lintWarning struct {
		RuleName    string    `json:"ruleName"`
		Description string    `json:"description,omitempty"`
		URL         string    `json:"url,omitempty"`
		Detail      string    `json:"detail,omitempty"`
		Location    *location `json:"location,omitempty"`
	}
	lintSource struct {
		Filename string `json:"filename"`
		Language string `json:"language,omitempty"`
		Data     []byte `json:"data"`
	}

	location struct {
		Ranges []lineRange `json:"ranges"`
	}
	lineRange struct {
		Start position `json:"start"`
		End   position `json:"end"`
	}
	position struct {
		Line int `json:"line"`
	}
)

// parseCall reads --call: what to do, and how to print the answer.
func (r *request) parseCall() error {
	var fields []field
	var err error
	if r.call != "" {
		if fields, err = parseFields(r.call); err != nil {
			return err
		}
	}
	name := ""
	for _, f := range fields {
		switch {
		case !f.ok && name == "":
			name = strings.TrimPrefix(f.key, "subrequests.")
		case f.key == "format" && (f.value == "json" || f.value == "text"):
			r.callJSON = f.value == "json"
		case f.key == "ignorestatus":
			if r.callIgnoresStatus, err = strconv.ParseBool(f.value); err != nil {
				return fmt.Errorf("ignorestatus is true or false, not %q", f.value)
			}
		default:
			return fmt.Errorf("unknown parameter %q", f.key)
		}
	}
	switch name {
	case "", "build":
		r.call = "build"
	case "check", "lint":
		r.call = "check"
	case "outline", "targets":
		r.call = name
	default:
		return fmt.Errorf("unknown method %q", name)
	}
	return nil
}

func atLine(first, last int) *location {
	return &location{[]lineRange{{position{first}, position{last}}}}
}

// answer prints a document in the form that the user wants.
func (b *build) answer(document any, text func(*strings.Builder)) (string, error) {
	if b.callJSON {
		j, err := json.MarshalIndent(document, "", "  ")
		return string(j) + "\n", err
	}
	var out strings.Builder
	text(&out)
	return out.String(), nil
}

// table prints rows whose columns are as far apart as padding says.
func table(out *strings.Builder, padding int, rows ...[]string) {
	t := tabwriter.NewWriter(out, 0, 0, padding, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t")) //nolint:errcheck // a strings.Builder
	}
	t.Flush() //nolint:errcheck // as above
}

// targets is the answer to --call=targets: the stages that can be built.
func (b *build) targets(f *dockerfile.File) (*made, error) {
	list := targetList{Sources: [][]byte{b.text.text}}
	rows := [][]string{{"TARGET", "DESCRIPTION"}}
	stages := f.Stages()
	for i, s := range stages {
		last := i == len(stages)-1
		list.Targets = append(list.Targets, target{s.Name, last, s.Comment, s.Base, atLine(s.Line, s.Line)})
		name := s.Name
		if last {
			name = strings.TrimSpace(name + " (default)")
		}
		rows = append(rows, []string{name, s.Comment})
	}
	text, err := b.answer(list, func(out *strings.Builder) { table(out, 1, rows...) })
	return &made{text: text}, err
}

// remarks is the answer to --check.
func (b *build) remarks(warnings []plan.Warning) (*made, error) {
	list := lintResults{Warnings: []lintWarning{}, Sources: []lintSource{{b.text.name, "Dockerfile", b.text.text}}}
	for _, w := range warnings {
		list.Warnings = append(list.Warnings, lintWarning{w.Rule, w.Text, w.URL, w.Detail, atLine(w.Line, w.Line)})
	}
	text, err := b.answer(list, func(out *strings.Builder) {
		switch len(warnings) {
		case 0:
			out.WriteString("Check complete, no warnings found.\n")
		case 1:
			out.WriteString("Check complete, 1 warning has been found!\n")
		default:
			fmt.Fprintf(out, "Check complete, %d warnings have been found!\n", len(warnings))
		}
		for _, w := range warnings {
			fmt.Fprintf(out, "\nWARNING: %s", w.Rule)
			if w.URL != "" {
				fmt.Fprintf(out, " - %s", w.URL)
			}
			fmt.Fprintf(out, "\n%s\n", w.Detail)
			out.WriteString(b.file.Excerpt(w.Line, w.Line))
		}
	})
	return &made{text: text, failed: len(warnings) > 0 && !b.callIgnoresStatus}, err
}

// outline is the answer to --call=outline: what the target depends on.
func (b *build) outline(p *plan.Plan) (*made, error) {
	stage := b.file.Stages()[p.Target().Index]
	list := outlineList{Name: stage.Name, Description: stage.Comment, Sources: [][]byte{b.text.text}}
	args := [][]string{{"BUILD ARG", "VALUE", "DESCRIPTION"}}
	for _, a := range p.Args {
		list.Args = append(list.Args, outlineArg{a.Name, a.Text, a.Value, atLine(a.Line, a.Line)})
		args = append(args, []string{a.Name, a.Value, a.Text})
	}
	for _, s := range p.Stages {
		for i := range s.Steps {
			step := &s.Steps[i]
			run, ok := step.Op.(*plan.Run)
			if !ok {
				continue
			}
			for _, m := range run.Mounts {
				switch m.Type {
				case plan.MountSecret:
					list.Secrets = need(list.Secrets, &m, step)
				case plan.MountSSH:
					list.SSH = need(list.SSH, &m, step)
				}
			}
		}
	}
	text, err := b.answer(list, func(out *strings.Builder) {
		if list.Name != "" || list.Description != "" {
			rows := [][]string{{"TARGET:", list.Name}}
			if list.Name == "" {
				rows[0][1] = "(default)"
			}
			if list.Description != "" {
				rows = append(rows, []string{"DESCRIPTION:", list.Description})
			}
			table(out, 1, rows...)
			out.WriteByte('\n')
		}
		section(out, args)
		section(out, needs("SECRET", list.Secrets))
		section(out, needs("SSH", list.SSH))
	})
	return &made{text: text}, err
}

// section prints a table that has more than its head.
func section(out *strings.Builder, rows [][]string) {
	if len(rows) > 1 {
		const padding = 3
		table(out, padding, rows...)
		out.WriteByte('\n')
	}
}

// need adds an id that a step asks for.
func need(list []needed, m *plan.Mount, step *plan.Step) []needed {
	for i := range list {
		if list[i].Name == m.ID {
			list[i].Required = list[i].Required || m.Required
			return list
		}
	}
	return append(list, needed{m.ID, m.Required, atLine(step.Line, step.EndLine)})
}

func needs(title string, list []needed) [][]string {
	rows := [][]string{{title, "REQUIRED"}}
	for _, n := range list {
		required := ""
		if n.Required {
			required = "true"
		}
		rows = append(rows, []string{n.Name, required})
	}
	return rows
}
