package main

import (
	"archive/tar"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// layerOf makes a layer of names: "d/" is a directory, "a=b" a hard link, "a>b" a symbolic one.
func layerOf(names string) (list []*entry) {
	for name := range strings.FieldsSeq(names) {
		e := &entry{path: clean(name), inode: &inode{kind: tar.TypeReg}}
		if strings.HasSuffix(name, "/") {
			e.kind = tar.TypeDir
		} else if at, target, ok := strings.Cut(name, "="); ok {
			e.path, e.link, e.kind = at, target, tar.TypeLink
		} else if at, target, ok := strings.Cut(name, ">"); ok {
			e.path, e.target, e.kind = at, target, tar.TypeSymlink
		}
		list = append(list, e)
	}
	return list
}

func TestApply(t *testing.T) {
	for _, c := range []struct{ layers, want string }{
		{"d/ d/a d/b | d/ d/.wh.a", "d d/b"},
		{"d/ d/a d/s/ d/s/x | d/ d/new d/.wh..wh..opq", "d d/new"},
		{"d/ d/s/ d/s/x | .wh.d", ""},
		{"d/ d/s/ d/s/x | d>e", "d"},
		{"f | f/ f/x", "f f/x"},
		{"d/ d/x | d/", "d d/x"},
		{"a b=a | .wh.a", "b"},
		{"da d/ d/a | .wh.d", "da"},
	} {
		got := tree{}
		for layer := range strings.SplitSeq(c.layers, "|") {
			if err := got.apply(layerOf(layer)); err != nil {
				t.Fatal(err)
			}
		}
		if names := strings.Join(slices.Sorted(maps.Keys(got)), " "); names != c.want {
			t.Errorf("%s: %q, want %q", c.layers, names, c.want)
		}
	}
	if err := (tree{}).apply(layerOf("a=gone")); err == nil {
		t.Error("a hard link to nothing is no error")
	}
}

func TestCompareTrees(t *testing.T) {
	linked, apart := tree{}, tree{}
	for _, err := range []error{linked.apply(layerOf("a b=a s>a")), apart.apply(layerOf("a b s>b c"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var what []string
	for _, d := range compareTrees("file", linked, apart, time.Time{}) {
		what = append(what, d.what)
	}
	if got := strings.Join(what, ", "); got != "file /a, file /b, file /c, file /s" {
		t.Errorf("differences in %s", got)
	}
	if found := compareTrees("file", linked, linked, time.Now()); found != nil {
		t.Errorf("a tree differs from itself: %v", found)
	}
}

func TestCases(t *testing.T) {
	cases, err := readCases("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 400 || !cases[0].base {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		for _, line := range c.differs {
			if _, why, _ := strings.Cut(line, ": "); why == "" {
				t.Errorf("%s: no reason in %q", c.name, line)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	c := &testCase{differs: []string{"file /a*: meant", "config User: gone"}}
	unmeant, meant, gone := c.judge([]difference{{what: "file /a/b"}, {what: "file /b"}, {what: "file /a"}})
	if len(unmeant) != 1 || unmeant[0].what != "file /b" || meant != 2 || len(gone) != 1 {
		t.Errorf("%v, %d, %v", unmeant, meant, gone)
	}
}

func TestClass(t *testing.T) {
	for _, pair := range [][2]string{
		{"berth: Dockerfile:2:1: unknown instruction: RNU", "ERROR: failed to build: failed to solve: dockerfile parse error on line 2: unknown instruction: RNU (did you mean ENV?)"},
		{"berth: failed to build: \"/a\": not found", "ERROR: failed to build: failed to solve: failed to compute cache key: failed to calculate checksum of ref a::b: \"/a\": not found"},
		{"berth: failed to build: process \"x\" did not complete successfully: exit code: 7", "ERROR: failed to solve: process \"x\" did not complete successfully: exit code: 7"},
	} {
		if x, y := class(built{err: pair[0]}), class(built{err: pair[1]}); x != y {
			t.Errorf("%q and %q", x, y)
		}
	}
	if x, y := class(built{err: "berth: exit code: 1"}), class(built{err: "ERROR: exit code: 2"}); x == y {
		t.Error("two exit codes are one class")
	}
}
