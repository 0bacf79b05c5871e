package build

import (
	"encoding/csv"
	"fmt"
	"path/filepath"
	"strings"
)

// field is one "key=value" of a flag; without "=" ok is false and value empty.
type field struct {
	key, value string
	ok         bool
}

// parseFields splits "type=local,dest=out": fields of a line of CSV, so that a
// value with a comma can be quoted. Keys are in small letters.
func parseFields(s string) ([]field, error) {
	words, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return nil, fmt.Errorf("invalid value %q: %w", s, err)
	}
	fields := make([]field, len(words))
	for i, w := range words {
		k, v, ok := strings.Cut(w, "=")
		fields[i] = field{strings.ToLower(strings.TrimSpace(k)), v, ok}
	}
	return fields, nil
}

// secret is a --secret: where the bytes of an id come from.
type secret struct {
	id, path, env string
}

// parseSecret reads "id=token,src=file", "id=token,env=NAME" or "id=token". As
// in BuildKit a secret with nothing but an id is the variable or the file of
// that name, in this order; which one is found out when it is read.
func parseSecret(s string) (secret, error) {
	fields, err := parseFields(s)
	if err != nil {
		return secret{}, err
	}
	var out secret
	kind := ""
	for _, f := range fields {
		switch {
		case !f.ok:
			return out, fmt.Errorf("invalid field '%s' must be a key=value pair", f.key)
		case f.key == "type":
			if f.value != "file" && f.value != "env" {
				return out, fmt.Errorf("unsupported secret type %q", f.value)
			}
			kind = f.value
		case f.key == "id":
			out.id = f.value
		case f.key == "source" || f.key == "src":
			out.path = f.value
		case f.key == "env":
			out.env = f.value
		default:
			return out, fmt.Errorf("unexpected key '%s' in '%s=%s'", f.key, f.key, f.value)
		}
	}
	if kind == "env" && out.env == "" { // "type=env,src=NAME" names the variable
		out.env, out.path = out.path, ""
		if out.env == "" {
			out.env = out.id
		}
	}
	if kind == "file" && out.path == "" {
		out.path = out.id
	}
	if out.id == "" {
		// Docker takes the file's name.
		switch {
		case out.path != "":
			out.id = filepath.Base(out.path)
		case out.env != "":
			out.id = out.env
		default:
			return out, fmt.Errorf("invalid secret %q: it needs an id", s)
		}
	}
	if out.path != "" && out.env != "" {
		return out, fmt.Errorf("invalid secret %q: it has both src and env", s)
	}
	return out, nil
}

// sshSpec is a --ssh: the agent's socket, or private keys for an agent of our own.
type sshSpec struct {
	id    string
	paths []string // none: the agent that SSH_AUTH_SOCK names
}

func parseSSH(s string) (sshSpec, error) {
	id, paths, ok := strings.Cut(s, "=")
	if id == "" {
		return sshSpec{}, fmt.Errorf("invalid ssh value %q: it needs an id", s)
	}
	out := sshSpec{id: id}
	if ok && paths != "" {
		out.paths = strings.Split(paths, ",")
	}
	return out, nil
}

// checkContext checks a --build-context: "name=place".
func checkContext(s string) (string, error) {
	name, place, ok := strings.Cut(s, "=")
	if !ok || name == "" || place == "" {
		return "", fmt.Errorf("invalid context value: %s, expected key=value", s)
	}
	return s, nil
}

// annotation is a --annotation: "[type,type:]key=value".
type annotation struct{ key, value string }

// parseAnnotation reads an annotation. Those of an index are refused: a build
// makes one manifest.
func parseAnnotation(s string) (annotation, error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return annotation{}, fmt.Errorf("invalid annotation %q, expected key=value", s)
	}
	if kinds, rest, found := strings.Cut(key, ":"); found {
		for kind := range strings.SplitSeq(kinds, ",") {
			kind, _, _ = strings.Cut(kind, "[")
			switch kind {
			case "manifest":
			case "index", "index-descriptor", "manifest-descriptor":
				return annotation{}, fmt.Errorf("cannot annotate the %s: berth annotates manifests only", kind)
			default:
				return annotation{}, fmt.Errorf("unknown annotation type %q", kind)
			}
		}
		key = rest
	}
	if key == "" {
		return annotation{}, fmt.Errorf("invalid annotation %q: it has no key", s)
	}
	return annotation{key, value}, nil
}
