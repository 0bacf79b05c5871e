package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// testCase is one build. A file of testdata is an archive of txtar with many of
// them; its entries are named
//
//	CASE/Dockerfile   makes a case of the name; every other CASE/file is beside it in the context
//	CASE/flags        flags for both builders, split at blanks as a shell does
//	CASE/context      what is built, if it is not the folder "ctx"
//	CASE/setup        a shell script, run in the context before the builds
//	CASE/differs      a line for each difference that is meant: "WHAT: why", WHAT as it is printed, a * at its end matches the rest
//	CASE/outside/F    a file beside the context: the builds run in the folder that has "ctx" and "outside"
//	shared/file       a file of every context of this archive; shared/setup is run in all of them
//
// The cases of bases.txtar are built by BuildKit, in their order, and are what
// FROM and --from find by their names in all others.
type testCase struct {
	name    string // archive/case
	base    bool
	flags   []string
	context string
	setup   string // of the archive, then of the case
	differs []string
	files   map[string][]byte // in the folder of the case: ctx/..., outside/...
}

func readCases(dir string) (all []*testCase, err error) {
	archives, err := filepath.Glob(dir + "/*.txtar")
	if err != nil || len(archives) == 0 {
		return nil, fmt.Errorf("no cases in %s: %v", dir, err)
	}
	slices.SortStableFunc(archives, func(a, b string) int { // the bases first
		return compareBools(!isBases(a), !isBases(b))
	})
	for _, name := range archives {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			return nil, err
		}
		list, err := casesOf(name, archive)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

func isBases(name string) bool { return filepath.Base(name) == "bases.txtar" }

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func casesOf(name string, archive *txtar.Archive) (list []*testCase, err error) {
	topic := strings.TrimSuffix(filepath.Base(name), ".txtar")
	shared := &testCase{files: map[string][]byte{}}
	byName := map[string]*testCase{"shared": shared}
	for _, f := range archive.Files {
		if id, rest, _ := strings.Cut(f.Name, "/"); rest == "Dockerfile" {
			if byName[id] != nil {
				return nil, fmt.Errorf("two cases %s", id)
			}
			c := &testCase{name: topic + "/" + id, context: "ctx", base: isBases(name), files: map[string][]byte{}}
			byName[id] = c
			list = append(list, c)
		}
	}
	for _, f := range archive.Files {
		id, rest, _ := strings.Cut(f.Name, "/")
		c := byName[id]
		if c == nil || rest == "" {
			return nil, fmt.Errorf("%s belongs to no case", f.Name)
		}
		switch {
		case rest == "flags":
			c.flags = words(string(f.Data))
		case rest == "context":
			c.context = strings.TrimSpace(string(f.Data))
		case rest == "setup":
			c.setup = string(f.Data)
		case rest == "differs":
			c.differs = strings.FieldsFunc(string(f.Data), func(r rune) bool { return r == '\n' })
		case strings.HasPrefix(rest, "outside/"):
			c.files[rest] = f.Data
		default:
			c.files["ctx/"+rest] = f.Data
		}
	}
	for _, c := range list {
		c.setup = shared.setup + c.setup
		for path, data := range shared.files {
			if _, own := c.files[path]; !own {
				c.files[path] = data
			}
		}
	}
	return list, nil
}

// words splits text at blanks, but not those between quotation marks.
func words(text string) (list []string) {
	var word strings.Builder
	quote, begun := rune(0), false
	for _, r := range text {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case quote == 0 && strings.ContainsRune(" \n\t", r):
			if begun {
				list = append(list, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		list = append(list, word.String())
	}
	return list
}

// write makes the folder of the case.
func (c *testCase) write(dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "ctx"), 0o755); err != nil {
		return err
	}
	for path, data := range c.files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// judge sorts differences into those that nobody meant and those that are
// listed, and says which listed ones are gone.
func (c *testCase) judge(found []difference) (unmeant []difference, meant int, gone []string) {
	used := map[string]bool{}
	for _, d := range found {
		i := slices.IndexFunc(c.differs, func(line string) bool { return lists(line, d.what) })
		if i < 0 {
			unmeant = append(unmeant, d)
			continue
		}
		meant++
		used[c.differs[i]] = true
	}
	for _, line := range c.differs {
		if !used[line] {
			gone = append(gone, line)
		}
	}
	return unmeant, meant, gone
}

// lists reports whether a line of CASE/differs means a difference.
func lists(line, what string) bool {
	pattern, _, _ := strings.Cut(line, ": ")
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(what, prefix)
	}
	return pattern == what
}
