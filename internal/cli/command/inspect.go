package command

import (
	"bytes"
	"encoding/json"

	"berth/internal/cli/output"
)

// Inspect finds every ref and prints what was found: one JSON array, or each by
// a template. What cannot be found is reported after that, and the end is an
// ExitError.
func Inspect(env *Env, format string, refs []string, find func(ref string) (any, error)) error {
	found := make([]any, 0, len(refs))
	failed := false
	var errs bytes.Buffer
	for _, ref := range refs {
		v, err := find(ref)
		if err != nil {
			PrintError(&errs, err)
			failed = true
			continue
		}
		found = append(found, v)
	}
	if err := printFound(env, output.Format(format), found); err != nil {
		return err
	}
	if failed {
		if _, err := env.Err.Write(errs.Bytes()); err != nil {
			return err
		}
		return ExitError{1}
	}
	return nil
}

func printFound(env *Env, format output.Format, found []any) error {
	if format != "" && format != "json" {
		for _, v := range found {
			if err := output.Execute(env.Out, format, v); err != nil {
				return err
			}
		}
		return nil
	}
	enc := json.NewEncoder(env.Out)
	enc.SetEscapeHTML(false)
	if format == "" {
		enc.SetIndent("", "    ")
	}
	return enc.Encode(found)
}
