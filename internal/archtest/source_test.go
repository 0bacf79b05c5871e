package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// eachFile parses every Go file of the repository.
func eachFile(t *testing.T, visit func(path string, f *ast.File, fset *token.FileSet)) {
	t.Helper()
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == ".cache") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		visit(strings.TrimPrefix(path, root+"/"), f, fset)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	documented := map[string]bool{}
	eachFile(t, func(path string, f *ast.File, _ *token.FileSet) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		dir := filepath.Dir(path)
		documented[dir] = documented[dir] || f.Doc != nil && len(f.Doc.Text()) > 40
	})
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func TestUnsafeStaysInItsFiles(t *testing.T) {
	eachFile(t, func(path string, f *ast.File, _ *token.FileSet) {
		for _, i := range f.Imports {
			if p, _ := strconv.Unquote(i.Path.Value); p == "unsafe" && !strings.HasSuffix(path, "_unsafe.go") && !strings.HasSuffix(path, "_test.go") {
				t.Errorf("%s imports unsafe; only *_unsafe.go may", path)
			}
		}
	})
}

// Every package's initialisation runs in every process, the monitor's and the
// container init's included: there is none.
func TestNoInitFunctionsOrGlobalRegexps(t *testing.T) {
	eachFile(t, func(path string, f *ast.File, fset *token.FileSet) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init function", fset.Position(fn.Pos()))
			}
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
				ast.Inspect(g, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "MustCompile" {
						t.Errorf("%s: regular expression compiled at start", fset.Position(s.Pos()))
					}
					return true
				})
			}
		}
	})
}

func TestNamesSaySomething(t *testing.T) {
	banned := []string{"util", "utils", "common", "helper", "helpers", "misc", "shared", "base", "types"}
	eachFile(t, func(path string, _ *ast.File, _ *token.FileSet) {
		dir := filepath.Base(filepath.Dir(path))
		for _, b := range banned {
			if dir == b || strings.HasSuffix(dir, "util") {
				t.Errorf("%s: a package named %q says nothing about what it has", path, dir)
			}
		}
	})
}

func TestMainsAreSmall(t *testing.T) {
	for _, path := range []string{"../../cmd/berth/main.go", "../../cmd/berthd/main.go"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), "\n"); n >= 40 {
			t.Errorf("%s has %d lines: a main dispatches and exits", path, n)
		}
	}
}
