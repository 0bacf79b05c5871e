package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a project's folder.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestSurvey(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "good/Dockerfile", "ARG V\nFROM any.example/tools:$V AS build\nRUN make\nFROM scratch\nCOPY --from=build /a /a\nCMD [\"/a\"]\n")
	write(t, dir, "good/flags", "# its version\n--build-arg=V=1\n")
	write(t, dir, "unread/Dockerfile", "FROM a\nRNU x\n")
	write(t, dir, "unplanned/Dockerfile", "FROM a AS one\nFROM a:$NONE\n")
	write(t, dir, "built/Dockerfile", "FROM a\n")
	write(t, dir, "built/context/file", "")
	write(t, dir, "unbuilt/Dockerfile", "FROM a\n")
	write(t, dir, "unbuilt/context/fails", "")
	berth := filepath.Join(t.TempDir(), "berth")
	write(t, filepath.Dir(berth), "berth", `#!/bin/sh
for last; do :; done
echo "$@"
[ ! -e "$last/fails" ] || { echo "berth: no image a"; echo "hint: get one"; exit 1; }
`)
	var out bytes.Buffer
	ok, err := survey(&out, dir, berth, "linux/amd64,linux/arm64")
	if err != nil || ok {
		t.Fatalf("ok %v, error %v", ok, err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		f := strings.Fields(line)
		rows[f[0]] = f[1:]
	}
	for name, want := range map[string]string{
		"good":      "2 3 yes 4 of 4 -",
		"unread":    "0 0 no 0 of 0 - Dockerfile:2:1: unknown instruction: RNU",
		"unplanned": "2 0 yes 0 of 4 - target 0 for linux/amd64: Dockerfile:2:",
		"built":     "1 0 yes 2 of 2 ",
		"unbuilt":   "1 0 yes 2 of 2 no no image a",
	} {
		if got := strings.Join(rows[name], " "); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	log, err := os.ReadFile(filepath.Join(dir, "built", "build.log"))
	if want := "build --progress plain -f " + dir + "/built/Dockerfile " + dir + "/built/context\n"; err != nil || string(log) != want {
		t.Errorf("the log of a build is %q, %v, want %q", log, err, want)
	}
	if _, err := survey(&out, t.TempDir(), berth, "linux/amd64"); err == nil {
		t.Error("an empty folder is a success")
	}
}
