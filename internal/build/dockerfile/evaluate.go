package dockerfile

import (
	"maps"
	"path"
	"slices"
	"unicode/utf8"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// evaluation is the state of a stage between two of its instructions.
type evaluation struct {
	t      *translation
	s      *stage
	config oci.ImageConfig
	vars   *variables
	steps  []plan.Step
	// entrypoint, cmd and healthcheck are where this stage set them last; nil: it did not.
	entrypoint, cmd, healthcheck []parser.Range

	now  command // the instruction at hand
	lint *linter.Linter
	text string // as progress shows it
}

// defaultPath is PATH where neither the base image nor the Dockerfile sets it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// evaluate turns a stage's instructions into steps. The stages that it needs
// have been evaluated.
func (t *translation) evaluate(s *stage) error {
	e := &evaluation{t: t, s: s, vars: newVariables()}
	out := &plan.Stage{Name: s.title(), Index: s.index, Line: firstLine(s.Location), Platform: t.platformFor(s)}
	switch {
	case s.from.stage != nil:
		below := s.from.stage
		out.Base.Stage, out.Platform = below.out, below.out.Platform
		e.config = below.out.Config
		e.config.RootFS, e.config.History, e.config.Config.OnBuild = oci.RootFS{}, nil, nil
		e.vars = below.vars.clone()
		s.args = slices.Clone(below.args)
		s.rooted = below.rooted
	case s.from.outside.image != nil:
		img := s.from.outside.image
		out.Base.Image = img
		e.config = img.Config
		e.config.Created, e.config.Config.OnBuild = nil, nil
		e.t.checkPlatform(s.baseName, s.from.outside, s.Location, t.lint())
	default:
		if out.Base.Context = s.from.outside.key.context; out.Base.Context == "" {
			out.Platform = t.set.Platform
		}
		e.config = emptyConfig(out.Platform)
	}
	if out.Platform.OS == "windows" {
		return t.file.at(unsupported("build it on Windows", "a stage for %s cannot be built here", out.Platform), s.Location)
	}
	if err := e.inherit(); err != nil {
		return t.file.at(err, s.Location)
	}
	out.Text = e.t.fromText(s)
	for _, c := range s.commands {
		if err := e.instruction(c); err != nil {
			return t.file.at(err, c.Location())
		}
	}
	out.Steps, out.Config = e.steps, e.config
	s.out, s.vars = out, e.vars
	return nil
}

// emptyConfig is the config of an image without files.
func emptyConfig(p oci.Platform) oci.ImageConfig {
	return oci.ImageConfig{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, OSVersion: p.OSVersion, OSFeatures: p.OSFeatures,
		Config: oci.RunConfig{WorkingDir: "/", Env: []string{"PATH=" + defaultPath}},
		RootFS: oci.RootFS{Type: "layers"},
	}
}

// inherit makes variables of the base's environment.
func (e *evaluation) inherit() error {
	c := &e.config.Config
	if !slices.ContainsFunc(c.Env, func(v string) bool { n, _ := cutVariable(v); return n == "PATH" }) {
		c.Env = append(slices.Clip(c.Env), "PATH="+defaultPath)
	}
	for _, v := range c.Env {
		e.vars.set(cutVariable(v))
	}
	if c.WorkingDir != "" && !path.IsAbs(c.WorkingDir) {
		c.WorkingDir = join("/", c.WorkingDir)
	}
	return e.t.set.budget.spend(e.vars.size())
}

// fromText is FROM as progress shows it.
func (t *translation) fromText(s *stage) string {
	text := upperFirst(s.SourceCode)
	if res, err := t.expand.word(text, t.global); err == nil {
		return res.Result
	}
	return text
}

// expands are the instructions whose words are filled in before they are
// carried out. ARG does it itself: a default that is not used may be wrong.
type expands = instructions.SupportsSingleWordExpansion

// instruction carries out one instruction.
func (e *evaluation) instruction(c command) error {
	e.now = c
	e.lint = e.t.lint().WithMergedConfigFromComments(c.Comments())
	if _, isArg := c.Command.(*instructions.ArgCommand); !isArg {
		if in, ok := c.Command.(expands); ok {
			if err := in.Expand(e.fill); err != nil {
				return err
			}
		}
	}
	if in, ok := c.Command.(instructions.SupportsSingleWordExpansionRaw); ok {
		raw := e.t.expand.raw()
		if err := in.ExpandRaw(func(word string) (string, error) { return e.fillWith(raw, word) }); err != nil {
			return err
		}
	}
	e.text = e.shown(c)
	return e.carryOut(c)
}

func (e *evaluation) carryOut(c command) error {
	switch in := c.Command.(type) {
	case *instructions.ArgCommand:
		return e.arg(in)
	case *instructions.EnvCommand:
		return e.env(in)
	case *instructions.LabelCommand:
		return e.label(in)
	case *instructions.MaintainerCommand:
		return e.maintainer(in)
	case *instructions.RunCommand:
		return e.run(in)
	case *instructions.CopyCommand:
		return e.copy(in)
	case *instructions.AddCommand:
		return e.add(in)
	case *instructions.WorkdirCommand:
		return e.workdir(in)
	case *instructions.UserCommand:
		return e.user(in)
	case *instructions.CmdCommand:
		return e.setCmd(in)
	case *instructions.EntrypointCommand:
		return e.setEntrypoint(in)
	case *instructions.ShellCommand:
		return e.shell(in)
	case *instructions.HealthCheckCommand:
		return e.setHealthcheck(in)
	case *instructions.ExposeCommand:
		return e.expose(in)
	case *instructions.VolumeCommand:
		return e.volume(in)
	case *instructions.StopSignalCommand:
		return e.stopSignal(in)
	case *instructions.OnbuildCommand:
		e.config.Config.OnBuild = append(slices.Clip(e.config.Config.OnBuild), in.Expression)
		return nil
	}
	return unsupported("remove the line", "instruction %s is not known to berth", c.Name())
}

// fill returns word with the variables that are set at this point.
func (e *evaluation) fill(word string) (string, error) { return e.fillWith(e.t.expand, word) }

func (e *evaluation) fillWith(x *expander, word string) (string, error) {
	res, err := x.word(word, e.vars)
	for _, name := range sortedKeys(res.Unmatched) {
		declared := slices.ContainsFunc(e.s.args, func(a argument) bool { return a.name == name })
		if !declared {
			e.lint.Run(&linter.RuleUndefinedVar, e.now.Location(), linter.RuleUndefinedVar.Format(name, nearest(name, e.vars.names)))
		}
	}
	return res.Result, err
}

// step ends an instruction: it records what it does, what the config is now,
// and what the image's history says of it. All of it becomes JSON, which has no
// letters but those of Unicode.
func (e *evaluation) step(op plan.Op, history string) error {
	if !utf8.ValidString(history) || !utf8.ValidString(e.text) {
		return errNotUTF8()
	}
	if op != nil {
		switch op.(type) {
		case *plan.Run, *plan.Copy:
			history += " # buildkit"
		}
	}
	where := e.now.Location()
	e.steps = append(e.steps, plan.Step{
		Line: firstLine(where), EndLine: lastLine(where), Text: e.text, Op: op, Config: e.config.Config,
		History: oci.History{CreatedBy: history, Comment: historyComment, EmptyLayer: op == nil, Created: e.t.set.epoch},
	})
	const fixed = 600 // a step and its place
	return e.t.set.budget.spend(len(history) + len(e.text) + fixed)
}

// historyComment marks the entries of images made from a Dockerfile by
// BuildKit's rules; tools that show layers look for it.
const historyComment = "buildkit.dockerfile.v0"

// changeEnv, and the other maps and lists of the config, are copied when they
// change: steps share them.
func (e *evaluation) changeEnv(name, value string) error {
	if err := checkVariable(name, value); err != nil {
		return pointed(name, err)
	}
	c := &e.config.Config
	c.Env = setInList(c.Env, name, value)
	e.vars.set(name, value)
	return e.t.set.budget.spend(16*len(c.Env) + len(name) + len(value))
}

// join puts p behind dir unless p is absolute, and cleans the result.
func join(dir, p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join("/", dir, p)
}

func cloneMap[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return maps.Clone(m)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// stageOrder is the error for a source that is not there yet.
func (e *evaluation) stageOrder(what string, src *stage) error {
	return errdefs.New(errdefs.InvalidArgument, "cannot %s stage %s, it needs to be defined before current stage %s", what, src.title(), e.s.title()).
		WithHint("move the stage %s above", src.title())
}
