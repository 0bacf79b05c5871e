package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/storage/archive/ustar"
)

// hostile is one crafted layer. CANARY in names and links stands for the path of the host's directory.
type hostile struct {
	name    string
	entries []e
	raw     func() []byte     // instead of entries
	want    error             // the refusal, nil if it is unpacked harmlessly
	tree    map[string]string // then: path -> what its line holds, "" : absent
}

const (
	dir     = tar.TypeDir
	symlink = tar.TypeSymlink
	hard    = tar.TypeLink
)

func corpus() []hostile {
	bad, full := error(errdefs.InvalidArgument), error(errdefs.Exhausted)
	up := strings.Repeat("../", 40)
	xattr := func(k, v string) map[string]string { return map[string]string{"SCHILY.xattr." + k: v} }
	return []hostile{
		// Names that try to leave.
		{name: "absolute name", entries: []e{{name: "/CANARY/new", data: "x"}}, tree: map[string]string{"CANARY/new": "100644"}},
		{name: "dot dot", entries: []e{{name: "../evil"}}, want: bad},
		{name: "many dot dots", entries: []e{{name: up + "CANARY/new"}}, want: bad},
		{name: "dot dot after a name", entries: []e{{name: "a/../../evil"}}, want: bad},
		{name: "dot dot at the end", entries: []e{{name: "a/.."}}, want: bad},
		{name: "dot dot as directory", entries: []e{{name: "../", typ: dir, mode: 0o777}}, want: bad},
		{name: "dot dot within", entries: []e{{name: "a/b/../c", data: "x"}}, tree: map[string]string{"a/c": "100644", "a/b": ""}},
		{name: "absolute dot dot", entries: []e{{name: "/../../x", data: "x"}}, tree: map[string]string{"x": "100644"}},
		{name: "slashes and dots", entries: []e{{name: "//.//a/./b//", typ: dir}}, tree: map[string]string{"a/b": "40755"}},
		{name: "PAX path leaves", raw: paxRaw("path", "../evil"), want: bad},
		{name: "PAX path with NUL", raw: paxRaw("path", "a\x00b"), want: bad},
		{name: "GNU long name leaves", raw: gnuLong('L', up+"evil\x00"), want: bad},
		{name: "newline and escape in a name", entries: []e{{name: "a\n\x1b[31m", data: "x"}}, tree: map[string]string{"a\n\x1b[31m": "100644"}},
		{name: "no UTF-8", entries: []e{{name: "\xff\xfe/\x80", data: "x"}}, tree: map[string]string{"\xff\xfe/\x80": "100644"}},
		{name: "three dots", entries: []e{{name: ".../x"}}, tree: map[string]string{".../x": "100644"}},
		{name: "backslashes", entries: []e{{name: `..\..\evil`}}, tree: map[string]string{`..\..\evil`: "100644"}},
		{name: "component too long", entries: []e{{name: strings.Repeat("n", 256)}}, want: full},
		{name: "path too long", entries: []e{{name: strings.Repeat("dir/", 1100) + "x"}}, want: full},
		{name: "deepest path", entries: []e{{name: strings.Repeat("d/", 2000) + "x"}}, tree: map[string]string{"d": "40755"}},
		{name: "no name at all", raw: rawHeader(ustar.Header{Name: "", Type: '0', Size: 0}), want: bad},
		// The root itself.
		{name: "root as a link", entries: []e{{name: ".", typ: symlink, link: "CANARY"}, {name: "new", data: "x"}}, want: bad},
		{name: "root as ./ link", entries: []e{{name: "./", typ: symlink, link: "CANARY"}}, want: bad},
		{name: "root as a file", raw: rawHeader(ustar.Header{Name: ".", Type: '0'}), want: bad},
		{name: "root as a hard link", entries: []e{{name: ".", typ: hard, link: "x"}}, want: bad},
		{name: "root as a FIFO", entries: []e{{name: ".", typ: tar.TypeFifo}}, want: bad},
		{name: "root whiteout", entries: []e{{name: ".wh."}}, want: bad},
		{name: "root opaque", entries: []e{{name: ".wh..wh..opq"}}, tree: map[string]string{".": "overlay.opaque"}},
		// Links, then something through them.
		{name: "file through absolute link", entries: []e{{name: "l", typ: symlink, link: "CANARY"}, {name: "l/new", data: "x"}}, want: unix.ENOTDIR},
		{name: "file through relative link", entries: []e{{name: "l", typ: symlink, link: up + "CANARY"}, {name: "l/new", data: "x"}}, want: unix.ENOTDIR},
		{name: "file over a link to a file", entries: []e{{name: "l", typ: symlink, link: "CANARY/secret"}, {name: "l", data: "x", mode: 0o777}}, tree: map[string]string{"l": "100777"}},
		{name: "directory over a link", entries: []e{{name: "l", typ: symlink, link: "CANARY"}, {name: "l/", typ: dir, mode: 0o777}, {name: "l/new", data: "x"}}, tree: map[string]string{"l/new": "100644", "l": "40777"}},
		{name: "link of links", entries: []e{{name: "a", typ: symlink, link: "/"}, {name: "b", typ: symlink, link: "a" + "CANARY"}, {name: "b/new"}}, want: unix.ENOTDIR},
		{name: "link to the root", entries: []e{{name: "l", typ: symlink, link: up}, {name: "l/in", data: "x"}}, tree: map[string]string{"in": "100644", "l": "120777"}},
		{name: "link loop", entries: []e{{name: "l", typ: symlink, link: "l"}, {name: "l/x"}}, want: unix.ELOOP},
		{name: "link swapped below a cached directory", entries: []e{{name: "d/e/f"}, {name: "d/e", typ: symlink, link: "CANARY"}, {name: "d/e/new"}}, want: unix.ENOTDIR},
		{name: "parent swapped for a link", entries: []e{{name: "d/e/f"}, {name: "d", typ: symlink, link: "/"}, {name: "d/e/new", data: "x"}}, tree: map[string]string{"e/new": "100644", "d": "120777"}},
		{name: "directory attributes through a swapped link", entries: []e{{name: "t/", typ: dir, mode: 0o711}, {name: "d/", typ: dir, mode: 0o777, uid: 9}, {name: "d", typ: symlink, link: "t"}}, tree: map[string]string{"t": "40711 0:0"}},
		{name: "link to procfs", entries: []e{{name: "l", typ: symlink, link: "/proc/self/root"}, {name: "l/CANARY/new"}}, want: unix.ENOTDIR},
		{name: "empty link target", raw: rawHeader(ustar.Header{Name: "l", Type: '2'}), want: bad},
		{name: "very long link target", entries: []e{{name: "l", typ: symlink, link: strings.Repeat("x", 5000)}}, want: unix.ENAMETOOLONG},
		{name: "link owner", entries: []e{{name: "l", typ: symlink, link: "CANARY/secret", uid: 99, gid: 99, mode: 0o777, time: 5}}, tree: map[string]string{"l": "120777 99:99"}},
		{name: "link attribute", entries: []e{{name: "l", typ: symlink, link: "CANARY/secret", pax: xattr("user.x", "y")}}, tree: map[string]string{"l": "120777"}},
		{name: "file below a file", entries: []e{{name: "f", data: "x"}, {name: "f/g"}}, want: unix.ENOTDIR},
		{name: "directory through a link and dot dot", entries: []e{{name: "a/b/c/", typ: dir}, {name: "l", typ: symlink, link: "a/b/c"}, {name: "l/../x", data: "y"}}, tree: map[string]string{"x": "100644"}},
		// Hard links.
		{name: "hard link out", entries: []e{{name: "h", typ: hard, link: "CANARY/secret"}}, want: unix.ENOENT},
		{name: "hard link out by dot dot", entries: []e{{name: "h", typ: hard, link: up + "CANARY/secret"}}, want: bad},
		{name: "hard link through a link", entries: []e{{name: "l", typ: symlink, link: "CANARY"}, {name: "h", typ: hard, link: "l/secret"}}, want: unix.ENOENT},
		{name: "hard link to a link, then chmod", entries: []e{{name: "l", typ: symlink, link: "CANARY/secret"}, {name: "h", typ: hard, link: "l", mode: 0o4777, uid: 99}}, tree: map[string]string{"h": "120777"}},
		{name: "hard link to a link, then write", entries: []e{{name: "l", typ: symlink, link: "CANARY/secret"}, {name: "h", typ: hard, link: "l"}, {name: "h", data: "evil"}}, tree: map[string]string{"h": "100644", "l": "120777"}},
		{name: "hard link to itself", entries: []e{{name: "h", typ: hard, link: "h"}}, want: unix.ENOENT},
		{name: "hard link to what it replaces", entries: []e{{name: "h", data: "x"}, {name: "h", typ: hard, link: "h"}}, tree: map[string]string{"h": "100644"}},
		{name: "hard link to a directory", entries: []e{{name: "d/", typ: dir}, {name: "h", typ: hard, link: "d"}}, want: bad},
		{name: "hard link to the root", entries: []e{{name: "h", typ: hard, link: "/"}}, want: bad},
		{name: "hard link to a whiteout", entries: []e{{name: ".wh.x"}, {name: "h", typ: hard, link: "x"}}, want: bad},
		{name: "hard link over its own directory", entries: []e{{name: "d/f", data: "x"}, {name: "d", typ: hard, link: "d/f"}}, want: unix.ENOENT},
		{name: "hard link with data", raw: linkWithData, tree: map[string]string{"h": "100644"}},
		// Whiteouts.
		{name: "whiteout of dot", entries: []e{{name: "a/.wh.."}}, want: bad},
		{name: "whiteout of dot dot", entries: []e{{name: "a/.wh..."}}, want: bad},
		{name: "whiteout of nothing", entries: []e{{name: "a/.wh."}}, want: bad},
		{name: "whiteout through a link", entries: []e{{name: "l", typ: symlink, link: "CANARY"}, {name: "l/.wh.secret"}}, want: unix.ENOTDIR},
		{name: "opaque in a linked directory", entries: []e{{name: "l", typ: symlink, link: "CANARY"}, {name: "l/.wh..wh..opq"}}, want: unix.ENOTDIR},
		{name: "opaque in a linked directory inside", entries: []e{{name: "d/", typ: dir}, {name: "l", typ: symlink, link: "/d"}, {name: "l/.wh..wh..opq"}}, tree: map[string]string{"d": "overlay.opaque", "l": "120777"}},
		{name: "whiteout as a directory", entries: []e{{name: ".wh.d/x"}}, want: bad},
		{name: "whiteout of a link", entries: []e{{name: "l", typ: symlink, link: "CANARY/secret"}, {name: ".wh.l"}}, tree: map[string]string{"l": "120777"}},
		{name: "whiteout name with dot dot", entries: []e{{name: ".wh.a/../../evil"}}, want: bad},
		// Attributes.
		{name: "overlay redirect", entries: []e{{name: "d/", typ: dir, pax: xattr("trusted.overlay.redirect", "CANARY")}}, tree: map[string]string{"d": "40755"}},
		{name: "overlay metacopy", entries: []e{{name: "f", data: "x", pax: xattr("trusted.overlay.metacopy", "")}}, tree: map[string]string{"f": "100644"}},
		{name: "overlay opaque", entries: []e{{name: "d/", typ: dir, pax: xattr("trusted.overlay.opaque", "y")}}, tree: map[string]string{"d": "40755"}},
		{name: "overlay of users", entries: []e{{name: "d/", typ: dir, pax: xattr("user.overlay.redirect", "/etc")}}, tree: map[string]string{"d": "40755"}},
		{name: "attribute without namespace", entries: []e{{name: "f", data: "x", pax: xattr("nonsense", "y")}}, tree: map[string]string{"f": "100644"}},
		{name: "attribute of 100 KiB", entries: []e{{name: "f", pax: xattr("user.big", strings.Repeat("x", 100<<10))}}, want: unix.E2BIG},
		{name: "owner -1", raw: paxRaw("uid", "4294967295"), want: bad},
		{name: "owner 2^32", raw: paxRaw("uid", "4294967296"), want: bad},
		{name: "owner below 0", raw: paxRaw("gid", "-5"), want: bad},
		{name: "mode bits beyond 12", raw: rawHeader(ustar.Header{Name: "f", Type: '0', Mode: 0o7777777}), tree: map[string]string{"f": "107777"}},
		{name: "setuid only as said", entries: []e{{name: "s", mode: 0o4711, uid: 5, data: "x"}, {name: "n", mode: 0o711, uid: 5, data: "x"}}, tree: map[string]string{"s": "104711 5", "n": "100711 5"}},
		{name: "time before all time", raw: paxRaw("mtime", "-9223372036854775808"), tree: map[string]string{"f": "100644"}},
		{name: "time after all time", raw: paxRaw("mtime", "9223372036854775807.999999999"), tree: map[string]string{"f": "100644"}},
		// Kinds.
		{name: "device of the host's disk", entries: []e{{name: "sda", typ: tar.TypeBlock, mode: 0o666, dev: [2]int64{8, 0}}, {name: "sda", data: "written over"}}, tree: map[string]string{"sda": "100644"}},
		{name: "FIFO, then written", entries: []e{{name: "p", typ: tar.TypeFifo}, {name: "p", data: "does not block"}}, tree: map[string]string{"p": "100644"}},
		{name: "FIFO as a parent", entries: []e{{name: "p", typ: tar.TypeFifo}, {name: "p/x"}}, want: unix.ENOTDIR},
		{name: "unknown type", raw: rawHeader(ustar.Header{Name: "v", Type: 'V'}), want: bad},
		{name: "socket type", raw: rawHeader(ustar.Header{Name: "s", Type: 's'}), want: bad},
		{name: "old directory", raw: rawHeader(ustar.Header{Name: "d/", Type: 0, Mode: 0o755}), tree: map[string]string{"d": "40755"}},
		{name: "file named as directory", raw: rawHeader(ustar.Header{Name: "d/", Type: '0', Mode: 0o755}), tree: map[string]string{"d": "100755"}},
		// Bombs; see also the reader's own tests.
		{name: "PAX header of 1 GiB", raw: rawHeader(ustar.Header{Name: "p", Type: 'x', Size: 1 << 30}), want: full},
		{name: "GNU name of 1 GiB", raw: rawHeader(ustar.Header{Name: "n", Type: 'L', Size: 1 << 30}), want: full},
		{name: "file of 4 EiB", raw: rawHeader(ustar.Header{Name: "f", Type: '0', Size: 1 << 62}), want: full},
		{name: "file of 1 GiB without data", raw: rawHeader(ustar.Header{Name: "f", Type: '0', Size: 1 << 30}), want: bad},
		{name: "sparse file of 4 EiB", raw: paxRaw("GNU.sparse.map", "0,0", "GNU.sparse.size", "4611686018427387904"), want: full},
		{name: "sparse run beyond the end", raw: paxRaw("GNU.sparse.map", "9223372036854775807,1", "GNU.sparse.size", "1"), want: bad},
		{name: "cut in the middle", raw: func() []byte { return tryStream([]e{{name: "f", data: strings.Repeat("x", 5000)}})[:2000] }, want: bad},
		{name: "noise", raw: func() []byte { return bytes.Repeat([]byte("noise, not tar. "), 500) }, want: bad},
		{name: "gzip", raw: func() []byte { return append([]byte{0x1f, 0x8b, 8}, make([]byte, 1000)...) }, want: bad},
	}
}

func rawHeader(h ustar.Header) func() []byte {
	return func() []byte { return ustar.AppendHeader(nil, &h) }
}

// paxRaw is a file with records that no careful writer would write.
func paxRaw(kv ...string) func() []byte {
	return func() []byte {
		var rec []byte
		for i := 0; i < len(kv); i += 2 {
			line := " " + kv[i] + "=" + kv[i+1] + "\n"
			n := len(line) + 2
			if n > 99 {
				n++
			}
			rec = append(rec, []byte(string(rune('0'+n/10))+string(rune('0'+n%10))+line)...)
		}
		b := ustar.AppendHeader(nil, &ustar.Header{Name: "pax", Type: 'x', Size: int64(len(rec))})
		b = append(b, rec...)
		b = append(b, make([]byte, -len(rec)&511)...)
		return ustar.AppendHeader(b, &ustar.Header{Name: "f", Type: '0', Mode: 0o644})
	}
}

func gnuLong(typ byte, name string) func() []byte {
	return func() []byte {
		b := ustar.AppendHeader(nil, &ustar.Header{Name: "././@LongLink", Type: typ, Size: int64(len(name))})
		b = append(b, name...)
		b = append(b, make([]byte, -len(name)&511)...)
		return ustar.AppendHeader(b, &ustar.Header{Name: "short", Type: '0', Mode: 0o644})
	}
}

// linkWithData is a hard link whose size field is set though no data follows, as some writers leave it.
func linkWithData() []byte {
	b := tryStream([]e{{name: "f", data: "x"}})
	return ustar.AppendHeader(b, &ustar.Header{Name: "h", Link: "f", Type: '1', Mode: 0o644, Size: 1})
}

func TestHostileLayers(t *testing.T) {
	needRoot(t)
	all := corpus()
	if len(all) < 60 {
		t.Fatalf("only %d layers", len(all))
	}
	for _, tt := range all {
		t.Run(tt.name, func(t *testing.T) {
			host, verify := canary(t)
			put := func(s string) string { return strings.ReplaceAll(s, "CANARY", host[1:]) }
			link := func(s string) string { // a link beginning with CANARY is absolute
				if strings.HasPrefix(s, "CANARY") {
					return host + s[len("CANARY"):]
				}
				return put(s)
			}
			var raw []byte
			if tt.raw != nil {
				raw = tt.raw()
			} else {
				entries := append([]e(nil), tt.entries...)
				for i := range entries {
					entries[i].name, entries[i].link = put(entries[i].name), link(entries[i].link)
				}
				raw = stream(t, entries...)
			}
			above := t.TempDir() // what "../evil" would be made in
			to := filepath.Join(above, "layer")
			check(t, os.Mkdir(to, 0o755))
			_, err := Apply(context.Background(), open(t, to), bytes.NewReader(raw), ApplyOptions{})
			verify()
			if names, _ := os.ReadDir(above); len(names) != 1 {
				t.Errorf("made something beside the layer: %v", names)
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			if strings.Contains(tt.name, "deepest") {
				return // a path too long for the names of this test
			}
			got := describe(t, to, false)
			for path, want := range tt.tree {
				line := got[put(path)]
				if want == "" && line != "" || !strings.Contains(line, want) {
					t.Errorf("%s is %q, want %q", path, line, want)
				}
			}
			for path, line := range got {
				if strings.Contains(line, ".overlay.") && !strings.Contains(tt.tree[path], "overlay.opaque") {
					t.Errorf("%s has an attribute of overlay's: %s", path, line)
				}
			}
		})
	}
}

// FuzzApply unpacks anything into a directory beside a canary.
func FuzzApply(f *testing.F) {
	for _, tt := range corpus() {
		if tt.raw != nil {
			f.Add(tt.raw())
		} else if raw := tryStream(tt.entries); len(raw) < 8<<10 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i := 0; i+512 <= len(raw); i += 512 {
			if b := raw[i : i+512]; string(b[257:262]) == "ustar" {
				fixChecksum(b)
			}
		}
		host, verify := canary(t)
		to := t.TempDir()
		raw = bytes.ReplaceAll(raw, []byte("CANARY"), []byte(filepath.Base(host)))
		for _, o := range []ApplyOptions{{}, {Plain: true, KeepKinds: true, Base: "base"}} {
			check(t, os.MkdirAll(to+"/base", 0o755))
			o.Limits = Limits{Bytes: 1 << 20, Entries: 1000, Directories: 100}
			_, _ = Apply(context.Background(), open(t, to), bytes.NewReader(raw), o)
		}
		verify()
	})
}

// tryStream is stream for entries that archive/tar may refuse to write.
func tryStream(entries []e) []byte {
	var b []byte
	for _, x := range entries {
		typ := x.typ
		if typ == 0 {
			typ = '0'
		}
		b = ustar.AppendHeader(b, &ustar.Header{Name: x.name, Link: x.link, Type: typ, Mode: uint32(x.mode), Size: int64(len(x.data))})
		b = append(b, x.data...)
		b = append(b, make([]byte, -len(x.data)&511)...)
	}
	return b
}

func fixChecksum(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	for i := 153; i >= 148; i-- {
		b[i] = byte('0' + sum&7)
		sum >>= 3
	}
	b[154] = 0
}
