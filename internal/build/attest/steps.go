package attest

import (
	"strconv"

	"berth/internal/build/plan"
)

// step is one instruction, with everything filled in.
type step struct {
	ID    string `json:"id"`
	Stage string `json:"stage"`
	Text  string `json:"text"`
	// Of RUN: what was run, and where.
	Args    []string `json:"args,omitempty"`
	Env     []string `json:"env,omitempty"`
	Dir     string   `json:"cwd,omitempty"`
	User    string   `json:"user,omitempty"`
	Network string   `json:"network,omitempty"`
}

// sources are the Dockerfile, and where the steps are in it. The names are those
// of BuildKit's protocol.
type sources struct {
	Locations map[string]locations `json:"locations,omitempty"`
	Infos     []sourceInfo         `json:"infos"`
}

type locations struct {
	Locations []location `json:"locations"`
}

type location struct {
	Ranges []lineRange `json:"ranges"`
}

type lineRange struct {
	Start position `json:"start"`
	End   position `json:"end"`
}

type position struct {
	Line int `json:"line"`
}

type sourceInfo struct {
	Filename string `json:"filename"`
	Language string `json:"language"`
	Data     []byte `json:"data"` // base64 in JSON
}

// steps lists what was done.
func (b *Build) steps() ([]step, *sources) {
	var all []step
	src := &sources{Locations: map[string]locations{}, Infos: []sourceInfo{{b.Dockerfile.Name, "Dockerfile", b.Dockerfile.Text}}}
	add := func(s step, first, last int) {
		s.ID = "step" + strconv.Itoa(len(all))
		all = append(all, s)
		src.Locations[s.ID] = locations{[]location{{[]lineRange{{position{first}, position{last}}}}}}
	}
	for _, st := range b.Plan.Stages {
		add(step{Stage: st.Name, Text: st.Text}, st.Line, st.Line)
		for _, i := range st.Steps {
			s := step{Stage: st.Name, Text: i.Text}
			if run, ok := i.Op.(*plan.Run); ok {
				s.Args, s.Env, s.Dir, s.User, s.Network = run.Args, run.Env, run.Dir, run.User, run.Network
			}
			add(s, i.Line, i.EndLine)
		}
	}
	return all, src
}
