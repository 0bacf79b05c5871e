package solve

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/progress"
	"berth/internal/oci"
)

// vertex describes step i of a stage, or its FROM (-1). shown is its number
// among the instructions that BuildKit's forms count.
func (s *solver) vertex(st *stage, i, shown int) progress.Vertex {
	v := progress.Vertex{Stage: st.Name, Text: st.Text, Line: st.Line, Number: st.first + 1 + i, Total: s.total}
	if i >= 0 {
		v.Text, v.Line = st.Steps[i].Text, st.Steps[i].Line
	}
	where, to := "", s.plan.Platform
	if s.o.ShowPlatform {
		where = st.Platform.String()
		if p := st.Platform; p.Architecture != to.Architecture || p.Variant != to.Variant {
			where += "->" + strings.TrimPrefix(to.String(), p.OS+"/")
		}
		where += " "
	}
	if _, err := strconv.Atoi(st.Name); err != nil {
		where += st.Name + " "
	} else if !st.only {
		where += "stage-" + st.Name + " "
	}
	width := len(strconv.Itoa(st.commands))
	v.Name = fmt.Sprintf("[%s%*d/%d] %s", where, width, shown, st.commands, v.Text)
	v.ID = cache.NewKey("vertex").Add("stage", strconv.Itoa(st.Index), st.Name, st.Platform.String(), to.String()).Add("step", strconv.Itoa(i), v.Text).Sum()
	return v
}

func (s *solver) finish(id, state oci.Digest, cached bool, err error) {
	e := &progress.Finished{ID: id, Cached: cached && err == nil, State: state, Err: err, Time: time.Now()}
	if err != nil {
		e.State = ""
	}
	s.o.Events.Send(e)
}

// output passes what a program writes on as events.
type output struct {
	sink   progress.Sink
	id     oci.Digest
	stream progress.Stream
}

func (o *output) Write(p []byte) (int, error) {
	o.sink.Send(&progress.Output{ID: o.id, Stream: o.stream, Data: append([]byte(nil), p...), Time: time.Now()})
	return len(p), nil
}
