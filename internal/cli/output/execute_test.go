package output

import (
	"strings"
	"testing"
)

// TestExecuteNames: a template may use Go's names or those of the JSON, and no others.
func TestExecuteNames(t *testing.T) {
	v := struct {
		ID   string `json:"Id"`
		Size int64
	}{"abc", 1 << 60}
	for text, want := range map[string]string{"{{.ID}} {{.Size}}": "abc 1152921504606846976\n", "{{.Id}} {{.Size}}": "abc 1152921504606846976\n", "{{.id}}": "", "{{.ID}} {{.Id}}": "", "x{{.Nope}}": ""} {
		var b strings.Builder
		err := Execute(&b, Format(text), v)
		if b.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", text, b.String(), err)
		}
	}
}
