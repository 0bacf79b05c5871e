package bootstrap

import (
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A tree of which several parts are shown is moved once, before any is taken;
// one that is shown whole is not moved to the staging place at all; and the same
// input compiles to the same program.
func TestTreesAreTakenOnce(t *testing.T) {
	open := func() *os.File {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	shared, whole, root := open(), open(), open()
	compile := func() string {
		s := testSpec("true")
		in := Input{
			Spec: s, RootTree: root, Staging: Staging{Root: "/staging/root", Trees: "/staging/trees"}, IsDir: func(string) bool { return true },
			Sources: map[string]Source{"/a": {Tree: shared, Path: "0"}, "/b": {Tree: shared, Path: "1"}, "/c": {Tree: whole, Dir: true}, "/d": {Tree: shared, Path: "2"}},
		}
		for _, target := range []string{"/a", "/b", "/c", "/d"} {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: target, Type: "bind", Options: []string{"rbind", "ro"}})
		}
		out, err := Compile(in)
		if err != nil {
			t.Fatal(err)
		}
		return out.Program.String()
	}
	text := compile()
	if n := strings.Count(text, " take the source of /"); n != 1 {
		t.Errorf("trees are moved %d times:\n%s", n, text)
	}
	if !strings.Contains(text, "take the rootfs") || strings.Contains(text, "bind the rootfs") {
		t.Errorf("the root is not the tree:\n%s", text)
	}
	if taken, used := strings.Index(text, "take the source"), strings.Index(text, "mount /a: open 0"); taken < 0 || used < taken {
		t.Errorf("a part is taken at %d, the tree at %d", used, taken)
	}
	for range 8 {
		if compile() != text {
			t.Fatal("another program from the same input")
		}
	}
}
