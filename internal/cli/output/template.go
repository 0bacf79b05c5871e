package output

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"text/template"

	"berth/internal/dockercompat"
	"berth/internal/errdefs"
)

// Parse compiles a --format template with Docker's functions.
func Parse(text string) (*template.Template, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"json":     toJSON,
		"split":    strings.Split,
		"join":     join,
		"title":    title,
		"lower":    strings.ToLower,
		"upper":    strings.ToUpper,
		"pad":      pad,
		"truncate": truncate,
	}).Parse(text)
	if err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "failed to parse template: %w", err).
			WithHint("templates are Go's text/template, as in '{{.ID}}: {{.Names}}'")
	}
	return t, nil
}

// toJSON encodes v without escaping <, > and &, which are plain text in a terminal.
func toJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func join(v any, sep string) (string, error) {
	switch list := v.(type) {
	case []string:
		return strings.Join(list, sep), nil
	case []any:
		parts := make([]string, len(list))
		for i, e := range list {
			s, ok := e.(string)
			if !ok {
				return "", errdefs.New(errdefs.InvalidArgument, "join: element %d is not a string", i)
			}
			parts[i] = s
		}
		return strings.Join(parts, sep), nil
	}
	return "", errdefs.New(errdefs.InvalidArgument, "join: want a list of strings, have %T", v)
}

func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func pad(s string, before, after int) string {
	if s == "" {
		return s
	}
	return strings.Repeat(" ", max(before, 0)) + s + strings.Repeat(" ", max(after, 0))
}

func truncate(s string, n int) string {
	if n >= 0 && len(s) > n {
		return s[:n]
	}
	return s
}

// Execute prints one value by a template or, for "" and "json", as JSON.
func Execute(w interface{ Write([]byte) (int, error) }, f Format, v any) error {
	text := unescape(string(f))
	if f == "" || f == "json" {
		text = "{{json .}}"
	}
	t, err := Parse(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		b.Reset()
		if executeOnJSON(&b, t, v) != nil {
			return templateError(err)
		}
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

// executeOnJSON tries a template that failed on Go's names again on those of
// the JSON, as Docker does: {{.Id}} is as good as {{.ID}}.
func executeOnJSON(b *bytes.Buffer, t *template.Template, v any) error {
	raw, err := dockercompat.Raw(v)
	if err != nil {
		return err
	}
	return t.Option("missingkey=error").Execute(b, raw)
}

// RowJSON encodes v as one object whose fields are v's exported methods that
// take nothing and return one value, in the order of their names. A row type's
// MarshalJSON calls it, since encoding/json sees fields and no methods.
func RowJSON(v any) ([]byte, error) {
	rv := reflect.ValueOf(v)
	t := rv.Type()
	out := make(map[string]any, rv.NumMethod())
	for i := range rv.NumMethod() {
		if m := rv.Method(i).Type(); m.NumIn() == 0 && m.NumOut() == 1 {
			out[t.Method(i).Name] = rv.Method(i).Call(nil)[0].Interface()
		}
	}
	return json.Marshal(out)
}

// headingFuncs replace the functions while the heading row of a table is made:
// "{{upper .Names}}" has the heading NAMES, not a changed one.
func headingFuncs() template.FuncMap {
	same := func(v any, _ ...any) any { return v }
	return template.FuncMap{
		"json": same, "split": same, "join": same, "title": same, "lower": same, "upper": same,
		"pad": same, "truncate": func(s any, _ int) any { return s },
	}
}

// Headings give the heading of each field that a template may use.
type Headings map[string]string

// Label returns the heading of a label's column: its last part in words.
func (Headings) Label(name string) string {
	return strings.NewReplacer("-", " ", "_", " ").Replace(name[strings.LastIndexByte(name, '.')+1:])
}
