package portable

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
)

// Media types of what travels.
const (
	MediaType = "application/vnd.berth.build.cache.v1+json" // of a Document, the manifest's config
)

// version is that of the format; another one is not read.
const version = 1

// Document says what steps made.
type Document struct {
	Version int       `json:"version"`
	Steps   []Step    `json:"steps"`
	Layers  []Layer   `json:"layers,omitempty"`
	Reads   []Reading `json:"reads,omitempty"`
}

// Step is what a key leads to.
type Step struct {
	Key oci.Digest `json:"key"`
	// Chain names the files after the step, "" for none at all.
	Chain oci.Digest `json:"chain,omitempty"`
	// Hollow says that the files are not here: the step was made, and no more is known.
	Hollow bool `json:"hollow,omitempty"`
}

// Layer is the topmost one of a stack.
type Layer struct {
	Chain  oci.Digest `json:"chain"`
	Below  oci.Digest `json:"below,omitempty"` // chain id of the stack it lies on: a base image's, or another layer's
	DiffID oci.Digest `json:"diffID"`
	// Blob is the packed layer; zero if it is found only where the stack is an image's.
	Blob    oci.Descriptor `json:"blob,omitzero"`
	Key     oci.Digest     `json:"key"`  // of the step that made it
	Size    int64          `json:"size"` // bytes of its files
	Created time.Time      `json:"created"`
	Text    string         `json:"text"`
}

// Reading is what was read of the files of a stage.
type Reading struct {
	What   oci.Digest `json:"what"` // key of the stage's files and of what was asked of them
	Digest oci.Digest `json:"digest"`
}

// maxText bounds the texts, which are for people.
const maxText = 1 << 10

// Sort orders the parts, so that equal builds write equal documents.
func (d *Document) Sort() {
	slices.SortFunc(d.Steps, func(a, b Step) int { return cmp.Compare(a.Key, b.Key) })
	slices.SortFunc(d.Layers, func(a, b Layer) int { return cmp.Compare(a.Chain, b.Chain) })
	d.Reads = sorted(d.Reads)
}

func sorted(reads []Reading) []Reading {
	slices.SortFunc(reads, func(a, b Reading) int { return cmp.Compare(a.What, b.What) })
	return slices.Compact(reads)
}

// Encode returns the document as bytes, the same for the same.
func (d *Document) Encode() ([]byte, error) {
	d.Version = version
	if d.Steps == nil {
		d.Steps = []Step{}
	}
	for i := range d.Layers {
		d.Layers[i].Text = short(d.Layers[i].Text)
	}
	b, err := json.Marshal(d)
	if err == nil && len(b) > oci.MaxDocument {
		err = errdefs.New(errdefs.Exhausted, "the cache of %d steps does not fit into one document", len(d.Steps))
	}
	return b, err
}

// short cuts a text that is too long, between two letters.
func short(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}

// Parse reads a document. Whoever wrote it, what is returned without an error is
// one: its chain ids are right, so that no layer lies, however indirectly, on itself.
func Parse(raw []byte) (*Document, error) {
	var d Document
	if len(raw) > oci.MaxDocument {
		return nil, errdefs.New(errdefs.InvalidArgument, "it is larger than %d MiB", oci.MaxDocument>>20)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&d); err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "it is no JSON document of a cache: %w", err)
	}
	if d.Version != version {
		return nil, errdefs.New(errdefs.Unsupported, "it is of version %d, and this berth reads %d", d.Version, version)
	}
	for _, s := range d.Steps {
		if err := digests(s.Key, optional(s.Chain)); err != nil {
			return nil, err
		}
	}
	for i := range d.Layers {
		if err := d.Layers[i].check(); err != nil {
			return nil, err
		}
	}
	for _, r := range d.Reads {
		if err := digests(r.What, r.Digest); err != nil {
			return nil, err
		}
	}
	return &d, nil
}

func (l *Layer) check() error {
	if err := digests(l.Chain, l.DiffID, l.Key, optional(l.Below), optional(l.Blob.Digest)); err != nil {
		return err
	}
	switch {
	case l.Chain != catalog.ChainID(l.Below, l.DiffID):
		return errdefs.New(errdefs.InvalidArgument, "layer %s is not %s on %q", l.Chain, l.DiffID, l.Below)
	case l.Size < 0 || l.Blob.Size < 0 || l.Created.IsZero() || len(l.Text) > maxText:
		return errdefs.New(errdefs.InvalidArgument, "layer %s has an impossible size, time or text", l.Chain)
	}
	return nil
}

// optional makes an empty digest pass for one.
func optional(d oci.Digest) oci.Digest {
	if d == "" {
		return oci.DigestOf(nil)
	}
	return d
}

func digests(list ...oci.Digest) error {
	for _, d := range list {
		if _, err := oci.ParseDigest(string(d)); err != nil {
			return err
		}
	}
	return nil
}
