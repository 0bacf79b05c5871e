package dockerfile

import (
	"fmt"
	"path"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// pipes is where here-documents that are programs appear.
const pipes = "/dev/pipes"

// run carries out RUN.
func (e *evaluation) run(in *instructions.RunCommand) error {
	args, files, err := e.runArgs(in)
	if err != nil {
		return err
	}
	if len(args) == 0 || len(args) == 1 && args[0] == "" && !in.PrependShell {
		return errdefs.New(errdefs.InvalidArgument, "RUN has no command").WithHint(`write RUN command, or RUN ["program", "argument"]`)
	}
	op := &plan.Run{
		Args: args, Files: files, Env: e.vars.list(), Proxy: e.t.proxies(),
		Dir: e.inside("."), User: e.config.Config.User,
		Network: e.t.set.Network, Hostname: e.t.set.BuildArgs["BUILDKIT_SANDBOX_HOSTNAME"],
		Insecure: instructions.GetSecurity(in) == instructions.SecurityInsecure,
	}
	if n := instructions.GetNetwork(in); n != instructions.NetworkDefault {
		op.Network = n
	}
	for _, d := range instructions.GetDevices(in) {
		if d.Required {
			return pointed(d.Name, unsupported("remove the option, or its word required", "RUN --device=%s: devices of the container device interface are not supported", d.Name))
		}
	}
	if err := e.mounts(op, in); err != nil {
		return err
	}
	if err := e.t.set.budget.spend(e.vars.size()); err != nil {
		return err
	}
	return e.step(op, "RUN "+e.runHistory(args))
}

// runArgs makes the command line. A here-document is one of three things: the
// whole command, a program of its own (#!), or input that the shell will read.
func (e *evaluation) runArgs(in *instructions.RunCommand) (args []string, files []plan.File, err error) {
	args = in.CmdLine
	if len(in.Files) > 0 {
		if len(args) != 1 || !in.PrependShell {
			return nil, nil, errdefs.New(errdefs.InvalidArgument, "a here-document needs the shell").
				WithHint("write the command without the JSON list")
		}
		if isHeredoc(in) {
			doc := in.Files[0]
			data := doc.Data
			if doc.Chomp {
				data = parser.ChompHeredocContent(data)
			}
			if strings.HasPrefix(data, "#!") {
				files = []plan.File{{Name: doc.Name, Data: []byte(data), Mode: 0o755}}
				data = path.Join(pipes, doc.Name)
			}
			args = []string{data}
		} else {
			var b strings.Builder
			b.WriteString(args[0])
			for _, doc := range in.Files {
				b.WriteString("\n" + doc.Data + doc.Name)
			}
			args = []string{b.String()}
		}
	}
	if in.PrependShell {
		args = e.shellForm(args)
	}
	return args, files, nil
}

// isHeredoc reports whether the command is nothing but <<WORD.
func isHeredoc(in *instructions.RunCommand) bool {
	return len(in.CmdLine) == 1 && parser.MustParseHeredoc(in.CmdLine[0]) != nil
}

// runHistory is the command with the ARGs that it could see in front, "|" and
// their number first: that is how Docker told apart runs with other arguments.
func (e *evaluation) runHistory(args []string) string {
	seen := newVariables()
	for _, a := range e.s.args {
		v, ok := e.vars.Get(a.name)
		if !ok && a.value != nil {
			v = *a.value
		}
		seen.set(a.name, v)
	}
	words := seen.list()
	if len(words) > 0 {
		words = append([]string{fmt.Sprintf("|%d", len(words))}, words...)
	}
	return strings.Join(append(words, args...), " ")
}
