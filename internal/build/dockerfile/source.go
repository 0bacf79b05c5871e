package dockerfile

import (
	"slices"
	"strconv"
	"strings"

	"berth/internal/errdefs"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// source is where COPY --from or RUN --mount=from takes files: exactly one is set.
type source struct {
	stage   *stage
	outside *outside
}

// bindAll finds the sources of every instruction of every stage, and refuses
// stages that wait for each other.
func (t *translation) bindAll() error {
	for _, s := range t.stages {
		for i := range s.commands {
			if err := t.bind(&s.commands[i]); err != nil {
				return t.file.at(err, s.commands[i].Location())
			}
		}
	}
	return t.refuseCycles()
}

// bind finds the sources of one instruction.
func (t *translation) bind(c *command) error {
	switch in := c.Command.(type) {
	case *instructions.CopyCommand:
		if in.From == "" {
			return nil
		}
		src, err := t.copySource(in.From)
		if err != nil {
			return pointed("--from="+in.From, err)
		}
		c.sources = []*source{src}
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(in) {
			src, err := t.mountSource(m.From)
			if err != nil {
				return pointed("from="+m.From, err)
			}
			c.sources = append(c.sources, src)
		}
	}
	return nil
}

// copySource reads COPY --from: a stage by name or number, a context, or an image.
func (t *translation) copySource(from string) (*source, error) {
	plain, err := shell.NewLex(t.escape).ProcessWordWithMatches(from, newVariables())
	if err != nil {
		return nil, refused(plainCause(err))
	}
	if plain.Result != from {
		return nil, errdefs.New(errdefs.InvalidArgument, "variable expansion is not supported for --from").
			WithHint("name a stage by FROM with a global ARG, and copy from that stage")
	}
	n, err := strconv.Atoi(from)
	if err != nil {
		return t.mountSource(from)
	}
	if n < 0 || n >= len(t.stages) {
		return nil, errdefs.New(errdefs.InvalidArgument, "invalid stage index %d", n).
			WithHint("the stages are numbered from 0 to %d", len(t.stages)-1)
	}
	return &source{stage: t.stages[n]}, nil
}

// mountSource reads the from of a mount: as copySource, but a number is a name.
func (t *translation) mountSource(from string) (*source, error) {
	if from == "" {
		return nil, nil
	}
	if s, ok := t.byName[strings.ToLower(from)]; ok {
		return &source{stage: s}, nil
	}
	o, err := t.outsideNamed(from, t.set.Platform)
	if err != nil {
		return nil, err
	}
	return &source{outside: o}, nil
}

// copiesFrom calls visit for each stage that an instruction of s takes files from.
func (s *stage) copiesFrom(visit func(*stage, *command)) {
	for i := range s.commands {
		for _, src := range s.commands[i].sources {
			if src != nil && src.stage != nil {
				visit(src.stage, &s.commands[i])
			}
		}
	}
}

// reachable returns the stages that the target needs, itself among them.
func reachable(target *stage) map[*stage]bool {
	seen := map[*stage]bool{target: true}
	for todo := []*stage{target}; len(todo) > 0; {
		s := todo[0]
		todo = todo[1:]
		need := func(n *stage, _ *command) {
			if !seen[n] {
				seen[n] = true
				todo = append(todo, n)
			}
		}
		if s.from.stage != nil {
			need(s.from.stage, nil)
		}
		s.copiesFrom(need)
	}
	return seen
}

// refuseCycles fails if a stage copies, over others or directly, from itself.
// The path is kept by hand: the number of stages is the text's choice, and so
// would be the depth of a recursion.
func (t *translation) refuseCycles() error {
	const onPath, done = 1, 2
	state := map[*stage]int{}
	type edge struct {
		to *stage
		by *command
	}
	// A base is always above, so only copies can go round.
	edges := func(s *stage) (list []edge) {
		s.copiesFrom(func(n *stage, c *command) { list = append(list, edge{n, c}) })
		return list
	}
	type frame struct {
		s    *stage
		next []edge
		by   *command
	}
	for _, start := range t.stages {
		if state[start] == done {
			continue
		}
		state[start] = onPath
		path := []frame{{s: start, next: edges(start)}}
		for len(path) > 0 {
			top := &path[len(path)-1]
			if len(top.next) == 0 {
				state[top.s] = done
				path = path[:len(path)-1]
				continue
			}
			e := top.next[0]
			top.next = top.next[1:]
			switch state[e.to] {
			case 0:
				state[e.to] = onPath
				path = append(path, frame{s: e.to, next: edges(e.to), by: e.by})
			case onPath:
				round := path[slices.IndexFunc(path, func(f frame) bool { return f.s == e.to }):]
				names, where := "", e.by.Location()
				for i, f := range round {
					names += f.s.title() + " -> "
					if i > 0 {
						where = append(where, f.by.Location()...)
					}
				}
				err := errdefs.New(errdefs.InvalidArgument, "circular dependency detected on stage: %s", names+e.to.title()).
					WithHint("a stage may copy only from stages above it")
				return t.file.at(pointed("from=", err), where)
			}
		}
	}
	return nil
}
