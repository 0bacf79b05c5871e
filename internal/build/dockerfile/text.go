package dockerfile

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// shown is an instruction as progress shows it: in one line, with variables
// filled in.
func (e *evaluation) shown(c command) string {
	text := ""
	if s, ok := c.Command.(interface{ String() string }); ok {
		text = s.String()
	}
	x, env := e.t.expand, shell.EnvGetter(e.vars)
	if run, ok := c.Command.(*instructions.RunCommand); ok {
		if len(run.Files) > 0 && isHeredoc(run) {
			text += " (" + firstLineOf(run.Files[0].Data) + ")"
		}
		x, env = e.t.expand.shown(e.t.escape), masked(run, e.vars)
	}
	if res, err := x.word(text, env); err == nil {
		text = res.Result
	}
	text = upperFirst(text)
	if c.onbuild {
		text = "ONBUILD " + text
	}
	return text
}

// masked hides the values of variables that RUN --mount=type=secret,env= replaces.
func masked(run *instructions.RunCommand, v *variables) shell.EnvGetter {
	hidden := v
	for _, m := range instructions.GetMounts(run) {
		if m.Type == instructions.MountTypeSecret && m.Env != nil {
			if hidden == v {
				hidden = v.clone()
			}
			hidden.set(*m.Env, "****")
		}
	}
	return hidden
}

// upperFirst writes the first word in capitals.
func upperFirst(s string) string {
	first, rest, ok := strings.Cut(s, " ")
	if !ok {
		return strings.ToUpper(first)
	}
	return strings.ToUpper(first) + " " + rest
}

// firstLineOf tells a here-document from others.
func firstLineOf(doc string) string {
	first, _, more := strings.Cut(strings.TrimSpace(doc), "\n")
	if first = strings.TrimRight(first, "\r"); more {
		first += "..."
	}
	return first
}

// cutVariable divides NAME=value.
func cutVariable(v string) (name, value string) {
	name, value, _ = strings.Cut(v, "=")
	return name, value
}
