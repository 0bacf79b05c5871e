package dockerfile

import (
	"strconv"
	"strings"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// scratch is the name of the image that has no files.
const scratch = "scratch"

// stage is one FROM on its way into the plan.
type stage struct {
	instructions.Stage
	index int
	// baseName is the text after FROM with variables filled in.
	baseName string
	// asked is --platform, nil if there is none.
	asked *oci.Platform
	from  base
	// commands are the base's ONBUILD triggers and the stage's own instructions.
	commands []command
	// triggered says that the triggers have been put in front already.
	triggered bool

	out  *plan.Stage // nil until it has been evaluated
	vars *variables  // after its last instruction
	args []argument  // the ARGs in scope, for the history of RUN
	// takes are the names of the ARGs that FROM and the stage's own ARGs name;
	// declares are those of them that the stage gives a meaning.
	takes    map[string]bool
	declares []plan.Arg
	// rooted says that a WORKDIR has been seen: a relative one is clear then.
	rooted bool
}

// base is what a stage begins from, before anything has been resolved: exactly
// one is set.
type base struct {
	stage   *stage
	outside *outside
}

// command is one instruction and where its files come from.
type command struct {
	instructions.Command
	// sources are, for COPY, of --from and, for RUN, of each --mount; nil: the
	// main context or none.
	sources []*source
	onbuild bool
}

// title is the stage's name, or its number.
func (s *stage) title() string {
	if s.Name != "" {
		return s.Name
	}
	return strconv.Itoa(s.index)
}

// buildStages gives every FROM its base. A name means an earlier stage if there
// is one, else an image.
func (t *translation) buildStages(list []instructions.Stage) error {
	for i, in := range list {
		s := &stage{Stage: in, index: i, takes: map[string]bool{}}
		lint := t.lint().WithMergedConfigFromComments(in.Comments)
		name, err := t.expand.word(in.BaseName, t.global)
		t.remarkUndeclared(name.Unmatched, in.Location, lint)
		s.take(name.Matched)
		if err != nil {
			return t.file.at(err, in.Location)
		}
		if s.baseName = name.Result; s.baseName == "" {
			err := errdefs.New(errdefs.InvalidArgument, "base name (%s) should not be blank", in.BaseName).
				WithHint("%s", t.missingArg(name.Unmatched))
			return t.file.at(pointed(in.BaseName, err), in.Location)
		}
		if in.Platform != "" {
			if err := t.platformOf(s, lint); err != nil {
				return t.file.at(err, in.Location)
			}
		}
		for _, c := range in.Commands {
			s.commands = append(s.commands, command{Command: c})
		}
		t.stages = append(t.stages, s)
		if given, ok := t.contextNamed(in.Name, t.platformFor(s)); ok {
			// The user's context takes the place of the whole stage.
			s.from = base{outside: given}
			s.commands = nil
		} else if earlier, ok := t.byName[s.baseName]; ok {
			s.from = base{stage: earlier}
		} else {
			from, err := t.outsideNamed(s.baseName, t.platformFor(s))
			if err != nil {
				return t.file.at(pointed(in.BaseName, err), in.Location)
			}
			s.from = base{outside: from}
		}
		if in.Name != "" {
			t.byName[in.Name] = s
		}
	}
	return nil
}

// missingArg is the hint for a name that became blank.
func (t *translation) missingArg(unset map[string]struct{}) string {
	for name := range unset {
		if n := nearest(name, t.global.Keys()); n != "" {
			return "did you mean $" + n + "?"
		}
		return "declare ARG " + name + "=VALUE before the first FROM"
	}
	return "name an image, or scratch for none"
}

// findTarget returns the stage that the user wants.
func (t *translation) findTarget() (*stage, error) {
	name := t.set.Target
	if name == "" {
		return t.stages[len(t.stages)-1], nil
	}
	if s, ok := t.byName[strings.ToLower(name)]; ok {
		return s, nil
	}
	if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(t.stages) {
		return t.stages[i], nil
	}
	e := errdefs.New(errdefs.NotFound, "target stage %q could not be found", name)
	if n := nearest(strings.ToLower(name), t.stageNames()); n != "" {
		return nil, &Error{File: t.file.Name, Err: e.WithHint("did you mean %s?", n)}
	}
	if names := t.stageNames(); len(names) > 0 {
		return nil, &Error{File: t.file.Name, Err: e.WithHint("the stages are %s", strings.Join(names, ", "))}
	}
	return nil, &Error{File: t.file.Name, Err: e.WithHint("name a stage by FROM image AS %s", name)}
}

func (t *translation) stageNames() (names []string) {
	for _, s := range t.stages {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return names
}
