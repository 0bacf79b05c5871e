package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/storage/archive/ustar"
)

// apply unpacks entries into a new directory.
func apply(t testing.TB, o ApplyOptions, entries ...e) (string, Result, error) {
	t.Helper()
	dir := t.TempDir()
	res, err := Apply(context.Background(), open(t, dir), bytes.NewReader(stream(t, entries...)), o)
	return dir, res, err
}

func TestApplyKeepsEverything(t *testing.T) {
	needRoot(t)
	caps := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	entries := []e{
		{name: "./", typ: tar.TypeDir, mode: 0o751, uid: 7, gid: 8, time: 100},
		{name: "bin/", typ: tar.TypeDir, mode: 0o555, time: 200, pax: map[string]string{"SCHILY.xattr.user.k": "v"}},
		{name: "bin/su", mode: 0o4755, uid: 1000, gid: 1001, data: "program", time: 300},
		{name: "bin/ping", mode: 0o755, uid: 5, data: "x", pax: map[string]string{"SCHILY.xattr.security.capability": caps}},
		{name: "bin/wall", mode: 0o2755, gid: 5, data: "x"},
		{name: "bin/sh", typ: tar.TypeSymlink, link: "/bin/su", uid: 3, gid: 4, time: 400},
		{name: "bin/sudo", typ: tar.TypeLink, link: "bin/su", mode: 0o4755, uid: 1000, gid: 1001, time: 300},
		{name: "tmp", typ: tar.TypeDir, mode: 0o1777, time: 500},
		{name: "dev/null", typ: tar.TypeChar, mode: 0o666, dev: [2]int64{1, 3}, uid: 1, time: 600},
		{name: "dev/loop", typ: tar.TypeBlock, mode: 0o660, dev: [2]int64{7, 0}, gid: 6},
		{name: "run/pipe", typ: tar.TypeFifo, mode: 0o622},
		{name: "secret", mode: 0o1, data: "none may read"},
	}
	dir, res, err := apply(t, ApplyOptions{Digest: true}, entries...)
	check(t, err)
	got := describe(t, dir, true)
	for path, want := range map[string]string{
		".":        "40751 7:8 at 100",
		"bin":      `40555 0:0 at 200 user.k="v"`,
		"bin/su":   "104755 1000:1001 size 7",
		"bin/wall": "102755 0:5",
		"bin/sh":   `120777 3:4 -> "/bin/su" at 400`,
		"bin/sudo": "104755 1000:1001",
		"bin/ping": "100755 5:0",
		"tmp":      "41777 0:0 at 500",
		"dev":      "40755 0:0",
		"dev/null": "20666 1:0 dev 1,3 at 600",
		"dev/loop": "60660 0:6 dev 7,0 at 0",
		"run/pipe": "10622 0:0 at 0",
		"secret":   "100001 0:0",
	} {
		if !strings.HasPrefix(got[path], want) {
			t.Errorf("%s: %s, want %s", path, got[path], want)
		}
	}
	if !strings.Contains(got["bin/ping"], fmt.Sprintf("security.capability=%q", caps)) {
		t.Errorf("the file capability is lost: %s", got["bin/ping"])
	}
	raw := stream(t, entries...)
	if res.DiffID != oci.DigestOf(raw) || res.Stream != int64(len(raw)) || res.Entries != len(entries) || res.Bytes != 7+1+1+13 {
		t.Errorf("result %+v", res)
	}
	if d := cmp.Diff([]string{"dev", "run"}, res.Implied); d != "" {
		t.Error("implied", d)
	}
}

// TestApplyDigest shows that the digest covers what lies behind the end of the archive.
func TestApplyDigest(t *testing.T) {
	t.Parallel()
	for _, raw := range [][]byte{
		append(stream(t, e{name: "a", data: "b"}), bytes.Repeat([]byte("tail"), 100000)...),
		stream(t, e{name: "a", data: "b"})[:1024], // no end marks at all
		stream(t),
		nil,
	} {
		res, err := Apply(context.Background(), open(t, t.TempDir()), bytes.NewReader(raw), ApplyOptions{Digest: true})
		if err != nil || res.DiffID != oci.DigestOf(raw) {
			t.Errorf("%d bytes: %v %v", len(raw), res.DiffID, err)
		}
	}
}

func TestApplyWhiteouts(t *testing.T) {
	needRoot(t)
	const dead, opaque = "20000 0:0 dev 0,0", `trusted.overlay.opaque="y"`
	tests := []struct {
		name    string
		entries []e
		want    map[string]string // path -> what its line holds; "" : absent
	}{
		{"file", []e{{name: ".wh.gone"}, {name: "a/.wh.x"}}, map[string]string{"gone": dead, "a/x": dead, ".wh.gone": "", "a/.wh.x": ""}},
		{"any type marks", []e{{name: ".wh.gone", typ: tar.TypeSymlink, link: "/etc"}, {name: ".wh.d", typ: tar.TypeDir}}, map[string]string{"gone": dead, "d": dead}},
		{"opaque", []e{{name: "d/", typ: tar.TypeDir}, {name: "d/.wh..wh..opq"}, {name: "d/new"}}, map[string]string{"d": opaque, "d/new": "100644", "d/.wh..wh..opq": ""}},
		{"opaque, last", []e{{name: "d/new"}, {name: "d/.wh..wh..opq"}}, map[string]string{"d": opaque, "d/new": "100644"}},
		{"opaque, then its directory", []e{{name: "d/.wh..wh..opq"}, {name: "d/", typ: tar.TypeDir, mode: 0o711}}, map[string]string{"d": opaque}},
		{"file, then whiteout", []e{{name: "f", data: "x"}, {name: ".wh.f"}}, map[string]string{"f": "100644"}},
		{"whiteout, then file", []e{{name: ".wh.f"}, {name: "f", data: "x"}}, map[string]string{"f": "100644"}},
		{"directory, then whiteout", []e{{name: "d/x"}, {name: ".wh.d"}}, map[string]string{"d": opaque, "d/x": "100644"}},
		{"whiteout, then directory", []e{{name: ".wh.d"}, {name: "d/", typ: tar.TypeDir}, {name: "d/x"}}, map[string]string{"d": opaque, "d/x": "100644"}},
		{"whiteout, then file below", []e{{name: ".wh.d"}, {name: "d/e/x"}}, map[string]string{"d": opaque, "d/e/x": "100644", "d/e": "40755"}},
		{"twice", []e{{name: ".wh.f"}, {name: ".wh.f"}}, map[string]string{"f": dead}},
		{"link, then whiteout", []e{{name: "l", typ: tar.TypeSymlink, link: "/"}, {name: ".wh.l"}}, map[string]string{"l": "120777"}},
		{"AUFS leftovers", []e{{name: ".wh..wh.aufs"}, {name: ".wh..wh.plnk/", typ: tar.TypeDir}, {name: ".wh..wh.plnk/1.2"}, {name: "a/.wh..wh.orph/x"}}, map[string]string{".wh..wh.aufs": "", ".wh..wh.plnk": "", "a/.wh..wh.orph": ""}},
		{"device 0/0 is a whiteout too", []e{{name: "c", typ: tar.TypeChar}}, map[string]string{"c": "20644"}},
		{"long names", []e{{name: ".wh." + strings.Repeat("n", 251)}}, map[string]string{strings.Repeat("n", 251): dead}},
	}
	for _, tt := range tests {
		dir, _, err := apply(t, ApplyOptions{}, tt.entries...)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got := describe(t, dir, false)
		for path, want := range tt.want {
			if line := got[path]; want == "" && line != "" || !strings.Contains(line, want) {
				t.Errorf("%s: %s is %q, want %q", tt.name, path, line, want)
			}
		}
	}
	dir, _, err := apply(t, ApplyOptions{UserXattr: true}, e{name: "d/.wh..wh..opq"})
	check(t, err)
	if line := describe(t, dir, false)["d"]; !strings.Contains(line, `user.overlay.opaque="y"`) {
		t.Error("without privileges:", line)
	}
	dir, _, err = apply(t, ApplyOptions{Plain: true}, e{name: "d/.wh..wh..opq"}, e{name: "d/.wh.x", data: "y"})
	check(t, err)
	if got := describe(t, dir, false); !strings.HasPrefix(got["d/.wh.x"], "100644") || got["d/.wh..wh..opq"] == "" || got["d/x"] != "" {
		t.Error("plain:", got)
	}
}

// TestApplyReplaces goes through all pairs of kinds: the later entry counts.
func TestApplyReplaces(t *testing.T) {
	needRoot(t)
	kinds := []struct {
		e    e
		want string
	}{
		{e{name: "x", data: "one", time: 1}, "100644 0:0 size 3"},
		{e{name: "x/", typ: tar.TypeDir, mode: 0o701, time: 2}, "40701 0:0 at 2"},
		{e{name: "x", typ: tar.TypeSymlink, link: "target"}, `120777 0:0 -> "target"`},
		{e{name: "x", typ: tar.TypeLink, link: "target", mode: 0o600, uid: 1, gid: 1}, "100600 1:1 size 6"},
		{e{name: "x", typ: tar.TypeFifo}, "10644 0:0"},
		{e{name: "x", typ: tar.TypeChar, dev: [2]int64{1, 3}}, "20644 0:0 dev 1,3"},
	}
	for _, first := range kinds {
		for _, second := range kinds {
			name := first.want + " -> " + second.want
			entries := []e{{name: "target", mode: 0o600, uid: 1, gid: 1, data: "target"}, first.e}
			if first.e.typ == tar.TypeDir {
				entries = append(entries, e{name: "x/y/z", data: "below"}, e{name: "x/y/", typ: tar.TypeDir, mode: 0o700})
			}
			dir, _, err := apply(t, ApplyOptions{}, append(entries, second.e)...)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got := describe(t, dir, true)
			if !strings.HasPrefix(got["x"], second.want) {
				t.Errorf("%s: %s", name, got["x"])
			}
			if both := first.e.typ == tar.TypeDir && second.e.typ == tar.TypeDir; (got["x/y/z"] != "") != both {
				t.Errorf("%s: content of the directory: %q", name, got["x/y/z"])
			}
			if !strings.HasPrefix(got["target"], "100600 1:1 size 6") {
				t.Errorf("%s: the target changed: %s", name, got["target"])
			}
		}
	}
}

func TestApplyKeepKinds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/d", 0o755))
	check(t, os.WriteFile(dir+"/f", []byte("old"), 0o644))
	check(t, os.Symlink("d", dir+"/l"))
	for _, tt := range []struct {
		e    e
		want error
	}{
		{e{name: "d", data: "file"}, errdefs.Conflict},
		{e{name: "d", typ: tar.TypeSymlink, link: "x"}, errdefs.Conflict},
		{e{name: "f/", typ: tar.TypeDir}, errdefs.Conflict},
		{e{name: "l/", typ: tar.TypeDir}, errdefs.Conflict},
		{e{name: "f", data: "new"}, nil},
		{e{name: "d/", typ: tar.TypeDir}, nil},
		{e{name: "l/in", data: "through a link inside"}, nil},
	} {
		_, err := Apply(context.Background(), open(t, dir), bytes.NewReader(stream(t, tt.e)), ApplyOptions{Plain: true, KeepKinds: true})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.e.name, err, tt.want)
		}
	}
	if b, err := os.ReadFile(dir + "/d/in"); string(b) != "through a link inside" {
		t.Error(string(b), err)
	}
}

func TestApplyBase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.MkdirAll(dir+"/srv/real", 0o755))
	check(t, os.Symlink("/srv/real", dir+"/data"))
	check(t, os.Symlink("/srv", dir+"/srv/real/up"))
	_, err := Apply(context.Background(), open(t, dir), bytes.NewReader(stream(t, e{name: "./", typ: tar.TypeDir, mode: 0o711}, e{name: "a/b", data: "1"}, e{name: "up/c", data: "2"})), ApplyOptions{Base: "/data/", Plain: true})
	check(t, err)
	got := describe(t, dir, false)
	if got["srv/real/a/b"] == "" || got["srv/c"] == "" || !strings.HasPrefix(got["srv/real"], "40711") || !strings.HasPrefix(got["data"], "120777") {
		t.Error(got)
	}
}

func TestApplyMapOwner(t *testing.T) {
	needRoot(t)
	o := ApplyOptions{MapOwner: func(uid, gid uint32) (uint32, uint32, error) {
		if uid == 66 {
			return 0, 0, errdefs.New(errdefs.InvalidArgument, "not mapped")
		}
		return uid + 100000, gid + 200000, nil
	}}
	dir, _, err := apply(t, o, e{name: "a/f", uid: 1, gid: 2}, e{name: "d/", typ: tar.TypeDir, uid: 3}, e{name: "l", typ: tar.TypeSymlink, link: "x"}, e{name: "p", typ: tar.TypeFifo, mode: 0o4711})
	check(t, err)
	got := describe(t, dir, false)
	for path, want := range map[string]string{"a": "40755 100000:200000", "a/f": "100644 100001:200002", "d": "40755 100003:200000", "l": "120777 100000:200000", "p": "14711 100000:200000"} {
		if !strings.HasPrefix(got[path], want) {
			t.Errorf("%s: %s, want %s", path, got[path], want)
		}
	}
	if _, _, err := apply(t, o, e{name: "f", uid: 66}); !errors.Is(err, errdefs.InvalidArgument) {
		t.Error("unmapped owner:", err)
	}
}

func TestApplyLimits(t *testing.T) {
	t.Parallel()
	many := make([]e, 50)
	for i := range many {
		many[i] = e{name: fmt.Sprint("d", i, "/"), typ: tar.TypeDir}
	}
	cancelled, cancel := context.WithCancelCause(context.Background())
	why := errors.New("time is up")
	cancel(why)
	raw := stream(t, many...)
	var heavy []byte // 80 directories with a megabyte of attributes each
	for i := range 80 {
		heavy = ustar.AppendHeader(heavy, &ustar.Header{Name: fmt.Sprint("d", i), Type: ustar.TypeDir, Mode: 0o755, Xattrs: []ustar.Xattr{{Name: "user.x", Value: strings.Repeat("x", 1<<20-100)}}})
	}
	zeros := stream(t, e{name: "zeros", data: strings.Repeat("\x00", 65<<20)})
	for name, tt := range map[string]struct {
		ctx  context.Context
		raw  []byte
		o    ApplyOptions
		want error
		what string
	}{
		"entries":     {nil, raw, ApplyOptions{Limits: Limits{Entries: 49}}, errdefs.Exhausted, "entries"},
		"directories": {nil, raw, ApplyOptions{Limits: Limits{Directories: 49}}, errdefs.Exhausted, "directories"},
		"stream":      {nil, raw, ApplyOptions{Limits: Limits{Stream: 5000}}, errdefs.Exhausted, "bytes in the stream"},
		"bytes":       {nil, zeros, ApplyOptions{Limits: Limits{Bytes: 1 << 20}}, errdefs.Exhausted, "bytes unpacked"},
		"ratio":       {nil, zeros, ApplyOptions{Compressed: func() int64 { return 1000 }}, errdefs.Exhausted, "times the compressed size"},
		"fair ratio":  {nil, zeros, ApplyOptions{Compressed: func() int64 { return 1 << 20 }}, nil, ""},
		"attributes":  {nil, heavy, ApplyOptions{}, errdefs.Exhausted, "bytes of names and attributes of directories"},
		"cancelled":   {cancelled, raw, ApplyOptions{}, errdefs.Cancelled, ""},
		"cause":       {cancelled, raw, ApplyOptions{}, why, ""},
		"all allowed": {nil, raw, ApplyOptions{Limits: Limits{Entries: 50, Directories: 50}}, nil, ""},
	} {
		if tt.ctx == nil {
			tt.ctx = context.Background()
		}
		_, err := Apply(tt.ctx, open(t, t.TempDir()), bytes.NewReader(tt.raw), tt.o)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		var limit *ustar.LimitError
		if tt.what != "" && (!errors.As(err, &limit) || limit.What != tt.what) {
			t.Errorf("%s: %v is not the limit of %s", name, err, tt.what)
		}
	}
}

// TestApplySparse unpacks a file of one byte and a gigabyte of hole.
func TestApplySparse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := os.Create(dir + "/big")
	check(t, err)
	_, err = f.WriteAt([]byte("end"), 1<<30)
	check(t, err)
	f.Close()
	raw, err := exec.Command("tar", "-C", dir, "-S", "-c", "big").Output()
	if err != nil {
		t.Skip(err)
	}
	to := t.TempDir()
	_, err = Apply(context.Background(), open(t, to), bytes.NewReader(raw), ApplyOptions{})
	check(t, err)
	var st unix.Stat_t
	check(t, unix.Stat(to+"/big", &st))
	if st.Size != 1<<30+3 || st.Blocks > 64 {
		t.Errorf("size %d, %d blocks", st.Size, st.Blocks)
	}
	_, err = Apply(context.Background(), open(t, t.TempDir()), bytes.NewReader(raw), ApplyOptions{Limits: Limits{Bytes: 1 << 20}})
	if !errors.Is(err, errdefs.Exhausted) {
		t.Error("a hole counts too:", err)
	}
}

func TestApplyFullDisk(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	check(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	defer unix.Unmount(dir, unix.MNT_DETACH)
	f, err := os.Open(dir)
	check(t, err)
	defer f.Close()
	_, err = Apply(context.Background(), f, bytes.NewReader(stream(t, e{name: "f", data: strings.Repeat("x", 2<<20)})), ApplyOptions{})
	if !errors.Is(err, errdefs.Exhausted) || !errors.Is(err, unix.ENOSPC) || errdefs.HintOf(err) == "" {
		t.Error(err)
	}
}

// TestApplyLikeGNUTar unpacks the same streams by both and compares the trees.
func TestApplyLikeGNUTar(t *testing.T) {
	needRoot(t)
	src := sampleTree(t)
	for format, without := range map[string][]string{
		"gnu": nil, "posix": nil,
		"ustar": {"--exclude=nnnnnnnn*", "--exclude=long-link"}, // it has no room for more than 100 bytes of a name or a link
	} {
		var words strings.Builder
		tar := exec.Command("tar", append(append([]string{"-C", src, "--format=" + format, "--sort=name"}, without...), "-c", ".")...)
		tar.Stderr = &words
		raw, err := tar.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", format, err, words.String())
		}
		mine, theirs := t.TempDir(), t.TempDir()
		_, err = Apply(context.Background(), open(t, mine), bytes.NewReader(raw), ApplyOptions{Plain: true})
		check(t, err)
		cmd := exec.Command("tar", "-C", theirs, "-xp", "--numeric-owner", "--same-owner")
		cmd.Stdin = bytes.NewReader(raw)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v", out, err)
		}
		if d := cmp.Diff(describe(t, theirs, true), describe(t, mine, true)); d != "" {
			t.Errorf("%s: %s", format, d)
		}
	}
}

// sampleTree makes a tree with one of everything.
func sampleTree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	at := time.Unix(1600000000, 0)
	for i, d := range []string{"usr", "usr/bin", "var/lib/deep/er", "empty", strings.Repeat("long-directory-name/", 8) + "end"} {
		check(t, os.MkdirAll(filepath.Join(dir, d), os.FileMode(0o750+i)))
	}
	for i, f := range []string{"file", "usr/bin/tool", "grün \n\xff", "var/lib/deep/er/data", "var/lib/deep/er/" + strings.Repeat("n", 200), "-", ".hidden", "usr/zero"} {
		check(t, os.WriteFile(filepath.Join(dir, f), bytes.Repeat([]byte{byte(i + 1)}, i*1000), os.FileMode(0o600+i)))
		check(t, os.Lchown(filepath.Join(dir, f), i*1000, i))
	}
	check(t, os.WriteFile(dir+"/large", bytes.Repeat([]byte("0123456789"), 100000), 0o644))
	check(t, unix.Chmod(dir+"/usr/bin/tool", 0o6711))
	check(t, os.Link(dir+"/file", dir+"/usr/hard"))
	check(t, os.Link(dir+"/file", dir+"/a-first"))
	check(t, os.Symlink("/etc/passwd", dir+"/usr/link"))
	check(t, os.Symlink(strings.Repeat("../", 50)+"x", dir+"/usr/long-link"))
	check(t, os.Link(dir+"/usr/link", dir+"/usr/link-again"))
	check(t, unix.Mkfifo(dir+"/pipe", 0o622))
	check(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	check(t, unix.Mknod(dir+"/disk", unix.S_IFBLK|0o660, int(unix.Mkdev(8, 300))))
	check(t, os.Chmod(dir+"/empty", 0o1777|os.ModeSticky))
	var dirs []string
	check(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d.IsDir() {
			dirs = append(dirs, path)
		}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: at.Unix()}, {Sec: at.Unix() + int64(len(path))}}, unix.AT_SYMLINK_NOFOLLOW)
	}))
	return dir
}

func BenchmarkApply(b *testing.B) {
	var entries []e
	for i := range 2000 {
		entries = append(entries, e{name: fmt.Sprintf("usr/share/doc/p%d/f%d", i/20, i), data: strings.Repeat("x", 3000)})
	}
	raw := stream(b, entries...)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		to := fmt.Sprint(dir, "/", i)
		check(b, os.Mkdir(to, 0o755))
		f, err := os.Open(to)
		check(b, err)
		_, err = Apply(context.Background(), f, bytes.NewReader(raw), ApplyOptions{Digest: true})
		check(b, err)
		f.Close()
	}
}
