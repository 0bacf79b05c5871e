package oci

import (
	"bytes"
	"encoding/json"
	"strings"

	"berth/internal/errdefs"
)

// Limits of one document. The largest real ones are a few hundred KiB and six levels deep.
const (
	MaxDocument = 4 << 20 // bytes

	maxDepth   = 64
	maxMembers = 16 << 10 // of one object
)

// foldAll as the fold argument of checkDocument ignores the case of keys at every depth.
const foldAll = maxDepth

// checkDocument refuses what two JSON parsers could read in two ways, and what
// only a hostile author would write. JSON lets an object name a key twice and
// leaves open which one counts, and Go's decoder takes "Layers" for "layers": a
// document that one tool checked as one image would be another one to the next.
// Keys that differ in case only count as the same down to depth fold; below it
// are maps with keys of the user's (labels), which are compared exactly.
func checkDocument(what string, doc []byte, fold int) error {
	if len(doc) > MaxDocument {
		return errdefs.New(errdefs.InvalidArgument, "%s is larger than %d MiB", what, MaxDocument>>20)
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	type level struct {
		keys map[string]struct{} // nil in an array
		key  bool                // the next token is a key
	}
	var stack []level
	for {
		tok, err := dec.Token()
		if err != nil {
			return errdefs.New(errdefs.InvalidArgument, "%s is not valid JSON: %w", what, err)
		}
		delim, isDelim := tok.(json.Delim)
		top := len(stack) - 1
		switch {
		case isDelim && (delim == '}' || delim == ']'):
			stack = stack[:top]
		case top >= 0 && stack[top].key:
			key := tok.(string)
			if top < fold {
				key = strings.ToLower(key)
			}
			if _, dup := stack[top].keys[key]; dup {
				return errdefs.New(errdefs.InvalidArgument, "%s names %.100q twice", what, key)
			}
			if len(stack[top].keys) == maxMembers {
				return errdefs.New(errdefs.InvalidArgument, "%s has an object with more than %d keys", what, maxMembers)
			}
			stack[top].keys[key] = struct{}{}
			stack[top].key = false
			continue
		case isDelim:
			if len(stack) == maxDepth {
				return errdefs.New(errdefs.InvalidArgument, "%s is nested deeper than %d levels", what, maxDepth)
			}
			next := level{}
			if delim == '{' {
				next = level{keys: map[string]struct{}{}, key: true}
			}
			stack = append(stack, next)
			continue
		}
		// A value ended: in an object a key follows.
		if len(stack) == 0 {
			return nil // Unmarshal refuses what follows
		}
		if t := &stack[len(stack)-1]; t.keys != nil {
			t.key = true
		}
	}
}

// Decode reads a document that comes with images and has no type of its own
// here (an archive's list of images, say) into v, as strictly as the others.
// Down to depth fold keys that differ in case only are one key: as deep as there
// are structs to decode into, and not where the keys are names or tags.
func Decode(what string, doc []byte, fold int, v any) error { return decode(what, doc, fold, v) }

// decode is checkDocument followed by the decoding into v.
func decode(what string, doc []byte, fold int, v any) error {
	if err := checkDocument(what, doc, fold); err != nil {
		return err
	}
	if err := json.Unmarshal(doc, v); err != nil {
		return errdefs.New(errdefs.InvalidArgument, "%s is malformed: %w", what, err)
	}
	return nil
}
