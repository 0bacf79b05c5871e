package copy

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/build/source/sourcetest"
)

func TestUnpack(t *testing.T) {
	dir, packed := t.TempDir(), sourcetest.Packed(t)
	for name, data := range packed {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o640))
	}
	for name, data := range map[string][]byte{
		"text": []byte("hello"), "empty": nil, "zeros": make([]byte, 1024), "text.gz": sourcetest.Gzip(t, []byte("hello")), "cut.gz": packed["gzip"][:30],
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), data, 0o640))
	}
	grow(t, dir, "l link gzip\nd 0755 inner\nl inner/gz ../gzip")
	tree := contextOf(t, dir)
	for _, name := range []string{"plain", "gzip", "bzip2", "xz", "zstd", "link"} {
		for chown, want := range map[string]string{"": "d755 0:0 x\nf644 5:6 x/f hello", "8:9": "d755 8:9 x\nf644 8:9 x/f hello"} {
			into := t.TempDir()
			_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/" + name}, Dest: "/x", Unpack: plan.UnpackLocal, Chown: chown})
			must(t, err)
			if got := show(t, into); got != want {
				t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
			}
		}
		into := t.TempDir()
		_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/" + name}, Dest: "/", Unpack: plan.UnpackNever})
		must(t, err)
		if got := show(t, into); !strings.HasPrefix(got, "f640 0:0 "+name) {
			t.Errorf("COPY unpacks: %s", got)
		}
	}
	for _, name := range []string{"text", "empty", "zeros", "text.gz", "cut.gz"} {
		into := t.TempDir()
		_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/" + name}, Dest: "/d/", Unpack: plan.UnpackLocal})
		must(t, err)
		if got := show(t, into); !strings.HasPrefix(got, "d755 0:0 d\nf640 0:0 d/"+name) {
			t.Errorf("%s is no archive, got\n%s", name, got)
		}
	}
	// Archives in a directory are files like others.
	into := t.TempDir()
	_, err := run(t, tree, into, &plan.Copy{Paths: []string{"/inner"}, Dest: "/", Unpack: plan.UnpackLocal})
	must(t, err)
	if got := show(t, into); got != "l 0:0 gz -> ../gzip" {
		t.Errorf("got %s", got)
	}
}

// TestUnpackInto: what is there is merged, and the archive's own root says nothing of the destination.
func TestUnpackInto(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a.tar"), sourcetest.Tar(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 77},
		tar.Header{Name: "./d/", Typeflag: tar.TypeDir, Mode: 0o711},
		tar.Header{Name: "./d/f", Uid: 3},
		tar.Header{Name: "./d/.wh.gone"},
	), 0o644))
	grow(t, into, "d 0751 x\nf 0600 x/d/gone stays\nf 0600 x/d/f old")
	_, err := run(t, contextOf(t, dir), into, &plan.Copy{Paths: []string{"/a.tar"}, Dest: "/x/", Unpack: plan.UnpackLocal})
	must(t, err)
	want := "d711 0:0 x/d\nd751 0:0 x\nf600 0:0 x/d/gone stays\nf644 0:0 x/d/.wh.gone hello\nf644 3:0 x/d/f hello"
	if got := show(t, into); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestUnpackMakesParents: --chmod is no more for the parents than for what the archive has.
func TestUnpackMakesParents(t *testing.T) {
	dir, into := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a.tar"), sourcetest.Tar(t, tar.Header{Name: "f", Mode: 0o640}), 0o644))
	_, err := run(t, contextOf(t, dir), into, &plan.Copy{Paths: []string{"/a.tar"}, Dest: "/x/y/", Unpack: plan.UnpackLocal, Chmod: "711", Chown: "3:4"})
	must(t, err)
	if got, want := show(t, into), "d755 3:4 x\nd755 3:4 x/y\nf640 3:4 x/y/f hello"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestHostileArchives: nothing that an archive says reaches the host.
func TestHostileArchives(t *testing.T) {
	host := t.TempDir()
	grow(t, host, "f 0600 secret HOST\nd 0700 d")
	before := show(t, host)
	up := strings.Repeat("../", 30)
	dir, file := tar.Header{Typeflag: tar.TypeDir, Mode: 0o777}, tar.Header{}
	named := func(h tar.Header, name string) tar.Header { h.Name = name; return h }
	link := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	hard := func(name, to string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to} }
	for what, entries := range map[string][]tar.Header{
		"up":                 {named(file, up+host+"/new")},
		"absolute":           {named(file, host+"/new")},
		"through a link":     {link("l", host), named(file, "l/secret")},
		"through up":         {link("l", up+host), named(file, "l/secret")},
		"over a link":        {link("l", host+"/secret"), named(file, "l")},
		"dir over a link":    {link("l", host), named(dir, "l/")},
		"hard link out":      {hard("h", host+"/secret"), named(file, "h")},
		"hard link up":       {hard("h", up+host+"/secret")},
		"hard link to link":  {link("l", host+"/secret"), hard("h", "l"), named(tar.Header{Mode: 0o777, Uid: 9}, "h")},
		"root is a link":     {link(".", host), named(file, "secret")},
		"destination a link": {link("x", host), named(file, "x/secret")},
		"proc":               {link("l", "/proc/self/root"), named(file, "l"+host+"/secret")},
		"whiteout":           {link("l", host), named(file, "l/.wh.secret")},
	} {
		t.Run(what, func(t *testing.T) {
			ctx, into := t.TempDir(), t.TempDir()
			must(t, os.WriteFile(filepath.Join(ctx, "a.tar"), sourcetest.Tar(t, entries...), 0o644))
			grow(t, into, "l dest "+host)
			tree := contextOf(t, ctx)
			for _, dest := range []string{"/", "/dest/", "/dest/deep"} {
				_, _ = run(t, tree, into, &plan.Copy{Paths: []string{"/a.tar"}, Dest: dest, Unpack: plan.UnpackLocal})
			}
			if after := show(t, host); after != before {
				t.Errorf("the host's files are\n%s", after)
			}
		})
	}
}

// TestBomb: a stream that unpacks to a thousand times its size ends with an error.
func TestBomb(t *testing.T) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedFastest))
	must(t, err)
	w := tar.NewWriter(z)
	must(t, w.WriteHeader(&tar.Header{Name: "big", Size: 4 << 30, Mode: 0o644}))
	zeros := make([]byte, 1<<20)
	for range 300 {
		_, err := w.Write(zeros)
		must(t, err)
	}
	must(t, z.Close())
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "bomb.tar.zst"), b.Bytes(), 0o644))
	c := plan.Copy{Paths: []string{"/bomb.tar.zst"}, Dest: "/", Unpack: plan.UnpackLocal}
	err = Into(context.Background(), Sources{Main: contextOf(t, dir)}, &c, open(t, t.TempDir()), Options{})
	if err == nil || !strings.Contains(err.Error(), "compressed size") {
		t.Errorf("got %v", err)
	}
}

// TestRemote: what ADD fetched is put as ADD says.
func TestRemote(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a.tgz"), sourcetest.Gzip(t, sourcetest.Tar(t, tar.Header{Name: "f"})), 0o600))
	tree := contextOf(t, dir)
	tree.File = "a.tgz"
	repo := contextOf(t, filepath.Dir(filepath.Join(dir, "x")))
	for name, tt := range map[string]struct {
		c    plan.Copy
		tree *source.Tree
		want string
	}{
		"file":      {plan.Copy{Dest: "/d/", Unpack: plan.UnpackLocal}, tree, "d755 0:0 d\nf600 0:0 d/a.tgz"},
		"to a name": {plan.Copy{Dest: "/n", Chmod: "755", Chown: "4:4"}, tree, "f755 4:4 n"},
		"unpacked":  {plan.Copy{Dest: "/d/", Unpack: plan.UnpackAlways}, tree, "d755 0:0 d\nf644 0:0 d/f hello"},
		"checkout":  {plan.Copy{Dest: "/d", Unpack: plan.UnpackLocal}, repo, "d755 0:0 d\nf600 0:0 d/a.tgz"},
	} {
		into := t.TempDir()
		tt.c.Remote = []string{"https://h/a.tgz"}
		must(t, Into(context.Background(), Sources{Remote: []*source.Tree{tt.tree}}, &tt.c, open(t, into), Options{}))
		if got := show(t, into); got != tt.want && !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tt.want)
		}
	}
}
