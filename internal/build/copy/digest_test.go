package copy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

func digestOf(t testing.TB, tree *source.Tree, c plan.Copy, owner *Owner) oci.Digest {
	t.Helper()
	d, err := Digest(context.Background(), Sources{Main: tree}, &c, owner)
	must(t, err)
	return d
}

// stage makes a tree that shows owners, as a mounted stage does.
func stage(t testing.TB, lines string) (*source.Tree, string) {
	t.Helper()
	dir := t.TempDir()
	grow(t, dir, lines)
	return source.Open(open(t, dir)), dir
}

const small = `
	d 0755 d
	f 0644 d/f text
	l d/l f
	d 0755 d/e
	f 0644 other x
`

func TestDigestStays(t *testing.T) {
	c := plan.Copy{Paths: []string{"/d"}, Dest: "/x"}
	tree, dir := stage(t, small)
	want := digestOf(t, tree, c, nil)
	check := func(what string, tree *source.Tree, c plan.Copy) {
		t.Helper()
		if got := digestOf(t, tree, c, nil); got != want {
			t.Errorf("%s changes the digest", what)
		}
	}
	again, _ := stage(t, small)
	check("another place", again, c)
	other := c
	other.Dest = "/y"
	check("the destination", tree, other)
	old := time.Unix(1e9, 5)
	for _, name := range []string{"d/f", "d/e", "d", "other"} {
		must(t, os.Chtimes(filepath.Join(dir, name), old, old))
	}
	check("times", tree, c)
	grow(t, dir, "f 0600 other changed\nf 0644 new n\nx other user.a=b")
	check("files that are not selected", tree, c)
	grow(t, dir, "f 0600 d/left out\nf 0600 d/x/y/left out")
	tree.Ignore = func(rel string, isDir bool) (bool, bool) {
		return rel == "d/left" || rel == "d/x" || rel == "d/x/y" || rel == "d/x/y/left", false
	}
	check("ignored files", tree, c)
	tree.Ignore = nil
	other = c
	other.Exclude = []string{"left", "x"}
	check("excluded files", tree, other)
	must(t, os.Link(filepath.Join(dir, "d/f"), filepath.Join(dir, "name")))
	check("a hard link elsewhere", tree, other)
	grow(t, dir, "l ln d")
	other.Paths = []string{"/ln"}
	check("a link to the source", tree, other)
}

func TestDigestChanges(t *testing.T) {
	c := plan.Copy{Paths: []string{"/d"}, Dest: "/x"}
	base, _ := stage(t, small)
	seen := map[oci.Digest]string{digestOf(t, base, c, nil): "nothing"}
	note := func(what string, d oci.Digest) {
		if old, ok := seen[d]; ok {
			t.Errorf("%s and %s give the same digest", what, old)
		}
		seen[d] = what
	}
	for what, lines := range map[string]string{
		"content":    "f 0644 d/f tex",
		"mode":       "f 0600 d/f text",
		"set-id":     "f 4644 d/f text",
		"owner":      "o 1:0 d/f",
		"group":      "o 0:1 d/f",
		"link owner": "o 1:1 d/l",
		"attribute":  "x d/f user.a=b",
		"attribute2": "x d/f user.a=c",
		"attribute3": "x d/f user.ab=",
		"dir attr":   "x d/e user.a=b",
		"dir mode":   "d 0700 d/e",
		"new file":   "f 0644 d/g",
		"new dir":    "d 0755 d/g",
		"fifo":       "p d/g",
		"device":     "c d/g 1 3",
		"device2":    "c d/g 1 5",
		"in the dir": "f 0644 d/e/f text",
		"copy":       "f 0644 d/g text",
		"hard link":  "h d/g d/f",
		"new link":   "l d/g f",
		"link away":  "l d/g F",
		"dev name":   "c d/gg 1 5",
		"two levels": "d 0755 d/g/h",
	} {
		tree, _ := stage(t, small+lines)
		note(what, digestOf(t, tree, c, nil))
	}
	for what, c := range map[string]plan.Copy{
		"chown": {Paths: []string{"/d"}, Chown: "web"}, "chown2": {Paths: []string{"/d"}, Chown: "5"},
		"file": {Paths: []string{"/d/f"}}, "renamed": {Paths: []string{"/d/l"}}, "twice": {Paths: []string{"/d", "/d"}},
		"with another": {Paths: []string{"/d", "/other"}}, "other order": {Paths: []string{"/other", "/d"}},
		"parents": {Paths: []string{"/d"}, Parents: true}, "chmod": {Paths: []string{"/d"}, Chmod: "600"},
		"nothing": {Paths: []string{"/none*"}}, "exclude": {Paths: []string{"/d"}, Exclude: []string{"e"}},
		"unpacked":  {Paths: []string{"/d/f"}, Unpack: plan.UnpackLocal},
		"text":      {Files: []plan.File{{Name: "f", Data: []byte("text"), Mode: 0o600}}},
		"text name": {Files: []plan.File{{Name: "g", Data: []byte("text"), Mode: 0o600}}},
	} {
		note("instruction "+what, digestOf(t, base, c, nil))
	}
	note("resolved owner", digestOf(t, base, c, &Owner{7, 7}))
}

// TestDigestAfterChmodChown: what the instruction overrides does not count.
func TestDigestAfterChmodChown(t *testing.T) {
	a, _ := stage(t, small)
	b, _ := stage(t, small+"f 0600 d/f text\no 3:4 d/f\nd 0711 d/e")
	c := plan.Copy{Paths: []string{"/d"}, Chmod: "0644"}
	if digestOf(t, a, c, &Owner{1, 2}) != digestOf(t, b, c, &Owner{1, 2}) {
		t.Error("modes and owners count although the instruction sets them")
	}
	a.RootOwned, b.RootOwned = true, true
	if digestOf(t, a, c, nil) != digestOf(t, b, c, nil) {
		t.Error("owners of a build context count")
	}
}

// TestExpect: a file that changes between the digest and the copying is noticed.
func TestExpect(t *testing.T) {
	tree, dir := stage(t, small)
	c := plan.Copy{Paths: []string{"/d"}, Dest: "/x"}
	want := digestOf(t, tree, c, nil)
	grow(t, dir, "f 0644 d/f TEXT")
	err := Into(context.Background(), Sources{Main: tree}, &c, open(t, t.TempDir()), Options{Expect: want})
	if !errors.Is(err, errdefs.Conflict) {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	tree, _ := stage(t, small)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c := plan.Copy{Paths: []string{"/d"}, Dest: "/x"}
	if _, err := Digest(ctx, Sources{Main: tree}, &c, nil); !errors.Is(err, errdefs.Cancelled) {
		t.Errorf("Digest: %v", err)
	}
	if err := Into(ctx, Sources{Main: tree}, &c, open(t, t.TempDir()), Options{}); !errors.Is(err, errdefs.Cancelled) {
		t.Errorf("Into: %v", err)
	}
}

// transcript is a hash that keeps what it is told, to see the form itself.
type transcript struct{ bytes.Buffer }

func (t *transcript) Sum([]byte) []byte { return nil }
func (t *transcript) Size() int         { return 0 }
func (t *transcript) BlockSize() int    { return 1 }

var _ hash.Hash = (*transcript)(nil)

// FuzzDigestForm makes two trees of the input and holds that they are told
// apart: two different trees never give the same bytes.
func FuzzDigestForm(f *testing.F) {
	f.Add([]byte("da1\x00fb2\x00."), []byte("da1\x00.fb2\x00"))
	f.Add([]byte("fab1\x00"), []byte("fa\x00fb1\x00"))
	f.Add([]byte("U"), []byte("F"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		bytesA, listA := tell(a)
		bytesB, listB := tell(b)
		if (listA == listB) != bytes.Equal(bytesA, bytesB) {
			t.Errorf("trees\n%s\nand\n%s\nforms\n%q\n%q", listA, listB, bytesA, bytesB)
		}
	})
}

// tell reads steps from script and gives what the digester makes of them, and a list of them.
func tell(script []byte) (form []byte, list string) {
	h := &transcript{}
	d := digester{h: h, chmod: &Chmod{}}
	open := 0
	for len(script) > 0 {
		op := script[0]
		script = script[1:]
		arg, rest, _ := bytes.Cut(script, []byte{0})
		switch op {
		case 'd', 'f', 'l', 'c':
			script = rest
			var sum source.Sum
			copy(sum[:], arg)
			kind := map[byte]uint32{'d': unix.S_IFDIR, 'f': unix.S_IFREG, 'l': unix.S_IFLNK, 'c': unix.S_IFCHR}[op]
			n := uint32(len(arg))
			d.entry(string(arg), kind|0o644, n, n*2, uint64(n), uint64(n%3), sum[:])
			list += fmt.Sprintf("%c %q\n", op, arg)
			if op == 'd' {
				open++
			}
		case '.':
			if open > 0 {
				open--
				_ = d.leave(nil)
				list += ".\n"
			}
		case 'F', 'U', 'G':
			script = rest
			for ; open > 0; open-- {
				_ = d.leave(nil)
				list += ".\n"
			}
			p := &part{item: item{as: string(arg)}, unpack: op == 'U'}
			if op == 'G' {
				p.revision, p.item.as = "c", ""
				arg = nil
			}
			d.begin(p)
			list += fmt.Sprintf("%c %q\n", op, arg)
		}
	}
	return h.Bytes(), list
}
