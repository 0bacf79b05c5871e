package cache

import (
	"encoding/json"
	"time"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
)

// Type is what a record is about, in BuildKit's words.
type Type string

// The types of records that `builder du` shows.
const (
	Regular    Type = "regular"         // the layer of a step
	Local      Type = "source.local"    // files of a build context
	CacheMount Type = "exec.cachemount" // RUN --mount=type=cache
	State      Type = "build.state"     // where a build failed; no build finds it again
)

// Record says what a step made.
type Record struct {
	Key  oci.Digest `json:"key"`
	Type Type       `json:"type"`
	// Layer is the layer in storage/snapshot with the step's result, and Below
	// the one that it lies on. They are the same if the step changed nothing,
	// and "" where there is no layer: a base layer lies on none.
	Layer string `json:"layer"`
	Below string `json:"below"`
	// DiffID is the digest of the layer's tar, once somebody has computed it.
	DiffID  oci.Digest `json:"diffID,omitempty"`
	Size    int64      `json:"size"` // bytes of the layer's files
	Created time.Time  `json:"created"`
	Text    string     `json:"text"` // the instruction, for people
	// Config is how a container of the state would run, so that people can look
	// into it; nil: nobody knows.
	Config *oci.RunConfig `json:"config,omitempty"`
	// Boot is the boot of the machine in which the layer was made, while nobody
	// knows whether it is on disk; "" once that is known.
	Boot string `json:"boot,omitempty"`
}

// Changed reports whether the step made a layer.
func (r *Record) Changed() bool { return r.Layer != r.Below }

// maxText bounds Text: instructions with here-documents may be long, and nobody reads that much.
const maxText = 1 << 10

// encode returns the record as a file has it.
func (r Record) encode() ([]byte, error) {
	if len(r.Text) > maxText {
		r.Text = r.Text[:maxText]
	}
	b, err := json.Marshal(r)
	return append(b, '\n'), err
}

// parseRecord reads the record of a key. Whatever a power cut or a careless hand
// made of the file, what is returned without an error is a record.
func parseRecord(key oci.Digest, b []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	layer := func(id string) bool { return id == "" || ident.Valid(id) }
	switch {
	case r.Key != key:
		return nil, errdefs.New(errdefs.Internal, "it is the record of %.80q", r.Key)
	case r.Type != Regular && r.Type != Local && r.Type != State:
		return nil, errdefs.New(errdefs.Internal, "unknown type %.80q", r.Type)
	case !layer(r.Layer) || !layer(r.Below) || r.Layer == "" && r.Below != "":
		return nil, errdefs.New(errdefs.Internal, "layer %.80q on %.80q", r.Layer, r.Below)
	case r.Size < 0 || r.Created.IsZero():
		return nil, errdefs.New(errdefs.Internal, "size or time is missing")
	}
	if r.DiffID != "" {
		if _, err := oci.ParseDigest(string(r.DiffID)); err != nil {
			return nil, err
		}
	}
	return &r, nil
}
