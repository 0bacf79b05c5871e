package printer

import (
	"encoding/json"
	"io"
	"time"

	"berth/internal/build/progress"
	"berth/internal/oci"
)

// rawJSON writes each event as one line in the shape of BuildKit's SolveStatus
// (github.com/moby/buildkit/client, graph.go), which programs that watch builds
// know. Bytes are in base64, times in RFC 3339. A vertex is written anew as a
// whole when it changes.
type rawJSON struct {
	enc  *json.Encoder
	byID map[oci.Digest]*jsonVertex
}

type jsonStatus struct {
	Vertexes []*jsonVertex  `json:"vertexes,omitempty"`
	Statuses []jsonTransfer `json:"statuses,omitempty"`
	Logs     []jsonLog      `json:"logs,omitempty"`
	Warnings []jsonWarning  `json:"warnings,omitempty"`
}

type jsonVertex struct {
	Digest    oci.Digest   `json:"digest"`
	Inputs    []oci.Digest `json:"inputs,omitempty"`
	Name      string       `json:"name,omitempty"`
	Started   *time.Time   `json:"started,omitempty"`
	Completed *time.Time   `json:"completed,omitempty"`
	Cached    bool         `json:"cached,omitempty"`
	Error     string       `json:"error,omitempty"`
}

type jsonTransfer struct {
	ID        string     `json:"id"`
	Vertex    oci.Digest `json:"vertex,omitempty"`
	Name      string     `json:"name,omitempty"`
	Total     int64      `json:"total,omitempty"`
	Current   int64      `json:"current"`
	Timestamp time.Time  `json:"timestamp"`
	Started   *time.Time `json:"started,omitempty"`
	Completed *time.Time `json:"completed,omitempty"`
}

type jsonLog struct {
	Vertex    oci.Digest `json:"vertex,omitempty"`
	Stream    int        `json:"stream,omitempty"`
	Data      []byte     `json:"data"`
	Timestamp time.Time  `json:"timestamp"`
}

type jsonWarning struct {
	Vertex oci.Digest  `json:"vertex,omitempty"`
	Level  int         `json:"level,omitempty"`
	Short  []byte      `json:"short,omitempty"`
	Detail [][]byte    `json:"detail,omitempty"`
	URL    string      `json:"url,omitempty"`
	Range  []jsonRange `json:"range,omitempty"`
}

type jsonRange struct {
	Start jsonPosition `json:"start"`
	End   jsonPosition `json:"end"`
}

type jsonPosition struct {
	Line int `json:"line,omitempty"`
}

func newRawJSON(out io.Writer) *rawJSON {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return &rawJSON{enc: enc, byID: map[oci.Digest]*jsonVertex{}}
}

func (r *rawJSON) event(e progress.Event) {
	var s jsonStatus
	switch e := e.(type) {
	case *progress.Started:
		if e.ConfigOnly {
			return
		}
		v := &jsonVertex{Digest: e.ID, Inputs: e.Inputs, Name: e.Name, Started: moment(e.Time)}
		r.byID[e.ID] = v
		s.Vertexes = []*jsonVertex{v}
	case *progress.Finished:
		v := r.byID[e.ID]
		if v == nil {
			return
		}
		delete(r.byID, e.ID)
		v.Completed, v.Cached = moment(e.Time), e.Cached
		if e.Err != nil {
			v.Error = e.Err.Error()
		}
		s.Vertexes = []*jsonVertex{v}
	case *progress.Output:
		s.Logs = []jsonLog{{e.ID, int(e.Stream), e.Data, e.Time.UTC()}}
	case *progress.Transfer:
		s.Statuses = []jsonTransfer{{ID: e.Name, Vertex: e.ID, Total: e.Total, Current: e.Current, Timestamp: e.Time.UTC(),
			Started: moment(e.Started), Completed: moment(e.Completed)}}
	case *progress.Warned:
		s.Warnings = []jsonWarning{warningOf(e)}
	default: // Running: BuildKit has no such event
		return
	}
	r.enc.Encode(s) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
}

func warningOf(e *progress.Warned) jsonWarning {
	w := jsonWarning{Vertex: e.ID, Level: 1, Short: []byte(e.Text), URL: e.URL}
	for _, d := range e.Detail {
		w.Detail = append(w.Detail, []byte(d))
	}
	if e.Line > 0 {
		w.Range = []jsonRange{{jsonPosition{e.Line}, jsonPosition{e.Line}}}
	}
	return w
}

// moment is nil for the zero time, which is left out.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (r *rawJSON) tick(time.Time) {}
func (r *rawJSON) end(time.Time)  {}
