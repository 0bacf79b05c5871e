package dockerfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// FuzzDifference looks for texts that the two read differently. What berth
// refuses on purpose is passed over.
func FuzzDifference(f *testing.F) {
	for _, pattern := range []string{"/cases/*.txtar", "/files/*.dockerfile"} {
		files, err := filepath.Glob(cases + pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			if !strings.HasSuffix(name, ".txtar") {
				f.Add(string(text))
				continue
			}
			for _, file := range txtar.Parse(text).Files {
				if !strings.Contains(file.Name, ".") && !strings.HasPrefix(file.Name, "value-too-long") {
					f.Add(string(file.Data))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := options{args: map[string]string{}}
		got, gotErr := askBerth(text, o)
		if gotErr != nil && onPurpose(gotErr.Error()) {
			return
		}
		want, wantErr := askBuildKit(text, o)
		if wantErr != nil && strings.Contains(wantErr.Error(), "failed to parse platform") {
			return // berth lets the registry say what platforms there are
		}
		switch {
		case wantErr != nil && gotErr == nil:
			t.Errorf("BuildKit refuses it: %v\n%s", wantErr, text)
		case wantErr == nil && gotErr != nil:
			t.Errorf("berth refuses it: %v\n%s", gotErr, text)
		case wantErr == nil:
			if d := difference(want, got); d != "" {
				t.Errorf("%s\nfor\n%s", d, text)
			}
		}
	})
}

// onPurpose reports whether berth's error is one that BuildKit finds later or not at all.
func onPurpose(text string) bool {
	for _, part := range []string{
		"front end", "no longer than", "invalid pattern", "is no way to fetch files", "cannot be built here", "env is empty",
		"circular dependency", "are not supported", "in one instruction", "a plan of more than", "no UTF-8",
	} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
