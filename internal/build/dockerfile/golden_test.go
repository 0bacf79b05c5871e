package dockerfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFiles compares the plans of whole Dockerfiles, for two platforms and with
// arguments, with what was found right before.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/files/*.dockerfile")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		got := outcome(t, string(text), testOptions()) + "\nwith arguments for linux/arm64\n\n" +
			outcome(t, string(text), caseOptions(t, "arg VERSION=9.8.7\narg HTTP_PROXY=http://proxy:3128\nplatform linux/arm64\nlabel built-by=test\n"))
		golden := strings.TrimSuffix(name, ".dockerfile") + ".plan"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || got != string(want) {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", name, err, got, want)
		}
	}
}
