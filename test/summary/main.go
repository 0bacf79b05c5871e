// Command summary runs all tests, shows what fails, and closes with the full
// figure: "N passed, N failed, N skipped".
//
// The conformance suites are modules of their own, because their oracles
// (libseccomp through cgo, upstream parsers) must not become dependencies of
// the product.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// event is one line of `go test -json` (cmd/test2json).
type event struct {
	Action, Package, Test, Output string
}

// totals count tests, subtests included.
type totals struct {
	passed, failed, skipped int
	output                  map[string][]string
}

func main() {
	t := &totals{output: map[string][]string{}}
	t.run(".", "0", "./...")
	suites, _ := filepath.Glob("test/conformance/*/go.mod")
	for _, mod := range suites {
		t.run(filepath.Dir(mod), "1", "./...")
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if t.failed > 0 || t.passed == 0 {
		os.Exit(1)
	}
}

// run runs go test in a module.
func (t *totals) run(dir, cgo string, pattern string) {
	cmd := exec.Command("go", "test", "-json", pattern)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	out, err := cmd.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	failed := t.failed
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		t.take(e)
	}
	if cmd.Wait() != nil && t.failed == failed {
		t.failed++ // a package that does not build has no test that fails
		fmt.Printf("FAIL in %s outside any test\n", dir)
	}
}

func (t *totals) take(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		t.output[key] = append(t.output[key], e.Output)
		return
	case "fail", "build-fail":
		fmt.Print(strings.Join(t.output[key], ""))
		if e.Test != "" {
			t.failed++
		}
	case "pass":
		if e.Test != "" {
			t.passed++
		} else {
			fmt.Printf("ok   %s\n", e.Package)
		}
	case "skip":
		if e.Test != "" {
			t.skipped++
			fmt.Print(strings.Join(t.output[key], ""))
		}
	default:
		return
	}
	delete(t.output, key)
}
