package copy

import (
	"errors"
	"strings"
	"testing"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
)

// sample is a context with one of each kind.
const sample = `
	f 0644 a.txt A
	f 0755 b.sh B
	d 0750 dir
	f 0640 dir/one 1
	d 0711 dir/sub
	f 0600 dir/sub/two 2
	l dir/link sub/two
	l dir/out /etc/passwd
	l todir dir
	l tofile a.txt
	l dangling nowhere
	l up ../../../../a.txt
	o 7:8 a.txt
	o 7:8 dir/one
	f 4755 setuid S
`

// copies are instructions with what they leave in a stage that has before.
var copies = []struct {
	name   string
	c      plan.Copy
	before string
	want   string // lines as show gives them
	err    string // else: what the error holds
	kind   errdefs.Kind
}{
	{name: "file to file", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/x"}, want: "f644 0:0 x A"},
	{name: "file to directory", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/x/"}, want: "d755 0:0 x\nf644 0:0 x/a.txt A"},
	{name: "file to a directory without slash", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/x"}, before: "d 0700 x",
		want: "d700 0:0 x\nf644 0:0 x/a.txt A"},
	{name: "deep destination", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/x/y/z"}, want: "d755 0:0 x\nd755 0:0 x/y\nf644 0:0 x/y/z A"},
	{name: "directory is its content", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x"},
		want: "d711 0:0 x/sub\nd755 0:0 x\nf600 0:0 x/sub/two 2\nf640 0:0 x/one 1\nl 0:0 x/link -> sub/two\nl 0:0 x/out -> /etc/passwd"},
	{name: "existing directory keeps its mode", c: plan.Copy{Paths: []string{"/dir/sub"}, Dest: "/x"}, before: "d 0777 x\nf 0644 x/other o",
		want: "d777 0:0 x\nf600 0:0 x/two 2\nf644 0:0 x/other o"},
	{name: "directory within takes the source's mode", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x", Exclude: []string{"link", "out", "one"}}, before: "d 0777 x/sub\no 5:5 x/sub",
		want: "d711 0:0 x/sub\nd755 0:0 x\nf600 0:0 x/sub/two 2"},
	{name: "link to a directory is followed", c: plan.Copy{Paths: []string{"/todir/sub"}, Dest: "/"}, want: "f600 0:0 two 2"},
	{name: "link to a file keeps its own name", c: plan.Copy{Paths: []string{"/tofile"}, Dest: "/d/"}, want: "d755 0:0 d\nf644 0:0 d/tofile A"},
	{name: "link out stays in", c: plan.Copy{Paths: []string{"/up"}, Dest: "/up"}, want: "f644 0:0 up A"},
	{name: "setuid", c: plan.Copy{Paths: []string{"/setuid"}, Dest: "/"}, want: "f4755 0:0 setuid S"},
	{name: "setuid and chown", c: plan.Copy{Paths: []string{"/setuid"}, Dest: "/", Chown: "5"}, want: "f4755 5:5 setuid S"},
	{name: "wildcard", c: plan.Copy{Paths: []string{"/*.txt", "/?.sh"}, Dest: "/d/"}, want: "d755 0:0 d\nf644 0:0 d/a.txt A\nf755 0:0 d/b.sh B"},
	{name: "wildcard within a path", c: plan.Copy{Paths: []string{"/d*/s[tu]b/t*"}, Dest: "/"}, want: "f600 0:0 two 2"},
	{name: "wildcard of directories", c: plan.Copy{Paths: []string{"/dir/s*"}, Dest: "/x/"}, want: "d755 0:0 x\nf600 0:0 x/two 2"},
	{name: "wildcard matches nothing", c: plan.Copy{Paths: []string{"/a.txt", "/none*"}, Dest: "/d/"}, want: "d755 0:0 d\nf644 0:0 d/a.txt A"},
	{name: "missing", c: plan.Copy{Paths: []string{"/none"}, Dest: "/"}, err: `"/none": not found`, kind: errdefs.NotFound},
	{name: "below a file", c: plan.Copy{Paths: []string{"/a.txt/x"}, Dest: "/"}, err: `"/a.txt/x": not found`, kind: errdefs.NotFound},
	{name: "dangling link", c: plan.Copy{Paths: []string{"/dangling"}, Dest: "/"}, err: `"/dangling": not found`, kind: errdefs.NotFound},
	{name: "bad pattern", c: plan.Copy{Paths: []string{"/[a"}, Dest: "/"}, err: "syntax error in pattern", kind: errdefs.InvalidArgument},
	{name: "many to a file", c: plan.Copy{Paths: []string{"/a.txt", "/b.sh"}, Dest: "/x"}, err: "destination /x must be a directory", kind: errdefs.InvalidArgument},
	{name: "wildcard of many to a file", c: plan.Copy{Paths: []string{"/*.*"}, Dest: "/x"}, err: "destination /x must be a directory", kind: errdefs.InvalidArgument},
	{name: "many to an existing directory", c: plan.Copy{Paths: []string{"/a.txt", "/b.sh"}, Dest: "/x"}, before: "d 0700 x", want: "d700 0:0 x\nf644 0:0 x/a.txt A\nf755 0:0 x/b.sh B"},
	{name: "many directories are merged", c: plan.Copy{Paths: []string{"/dir/sub", "/b.sh"}, Dest: "/x"}, want: "d755 0:0 x\nf600 0:0 x/two 2\nf755 0:0 x/b.sh B"},
	{name: "chmod octal", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x", Chmod: "0700", Exclude: []string{"link", "out"}},
		want: "d700 0:0 x\nd700 0:0 x/sub\nf700 0:0 x/one 1\nf700 0:0 x/sub/two 2"},
	{name: "chmod symbolic", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x", Chmod: "u=rwX,go=rX", Exclude: []string{"link", "out"}},
		want: "d755 0:0 x\nd755 0:0 x/sub\nf644 0:0 x/one 1\nf644 0:0 x/sub/two 2"},
	{name: "chmod not octal", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chmod: "0888"}, err: "'0888'. it should be octal", kind: errdefs.InvalidArgument},
	{name: "chmod nonsense", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chmod: "u~x"}, err: "'u~x'", kind: errdefs.InvalidArgument},
	{name: "chown numbers", c: plan.Copy{Paths: []string{"/dir/sub"}, Dest: "/n/x", Chown: "10:20"}, want: "d755 10:20 n\nd755 10:20 n/x\nf600 10:20 n/x/two 2"},
	{name: "chown one number", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chown: "10"}, want: "f644 10:10 a.txt A"},
	{name: "chown names", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chown: "web:www"}, before: "f 0644 etc/passwd web:x:33:44:::\nf 0644 etc/group www:x:55:",
		want: "d755 0:0 etc\nf644 0:0 etc/group www:x:55:\nf644 0:0 etc/passwd web:x:33:44:::\nf644 33:55 a.txt A"},
	{name: "chown a user's own group", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chown: "web"}, before: "f 0644 etc/passwd web:x:33:44:::",
		want: "d755 0:0 etc\nf644 0:0 etc/passwd web:x:33:44:::\nf644 33:44 a.txt A"},
	{name: "chown nobody there", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chown: "web"}, err: "no user web in the stage's /etc/passwd", kind: errdefs.InvalidArgument},
	{name: "chown no such group", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chown: "0:www"}, err: "no group www", kind: errdefs.InvalidArgument},
	{name: "chown wraps", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chown: "4294967296"}, err: "range 0-2147483647", kind: errdefs.InvalidArgument},
	{name: "chown below 0", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/", Chown: "0:-1"}, err: "range 0-2147483647", kind: errdefs.InvalidArgument},
	{name: "file over directory", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x"}, before: "d 0755 x/one", err: "one: cannot replace to directory /x/one with file", kind: errdefs.Conflict},
	{name: "directory over file", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x"}, before: "f 0644 x/sub s", err: "sub: cannot copy to non-directory: /x/sub", kind: errdefs.Conflict},
	{name: "directory over link", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x"}, before: "d 0755 y\nl x/sub /y", err: "sub: cannot copy to non-directory", kind: errdefs.Conflict},
	{name: "directory to a file", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/x"}, before: "f 0644 x X", err: "mkdir /x: not a directory"},
	{name: "slash behind a file", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/x/"}, before: "f 0644 x X", err: "mkdir /x/: not a directory"},
	{name: "below a file of the stage", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/x/y"}, before: "f 0644 x X", err: "mkdir /x: not a directory"},
	{name: "destination is a link to a directory", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/run/"}, before: "d 0755 v/run\nl run /v/run",
		want: "d755 0:0 v\nd755 0:0 v/run\nf644 0:0 v/run/a.txt A\nl 0:0 run -> /v/run"},
	{name: "destination is a link out", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/l/x"}, before: "l l ../../../tmp",
		want: "d755 0:0 tmp\nf644 0:0 tmp/x A\nl 0:0 l -> ../../../tmp"},
	{name: "destination is a link to a file", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/l"}, before: "f 0600 t T\nl l t", want: "f644 0:0 t A\nl 0:0 l -> t"},
	{name: "a link in a directory is replaced", c: plan.Copy{Paths: []string{"/a.txt"}, Dest: "/d/"}, before: "f 0600 t T\nl d/a.txt ../t",
		want: "d755 0:0 d\nf600 0:0 t T\nf644 0:0 d/a.txt A"},
	{name: "later sources replace earlier ones", c: plan.Copy{Paths: []string{"/dir/sub", "/dir/sub/two"}, Dest: "/d/"}, want: "d755 0:0 d\nf600 0:0 d/two 2"},
	{name: "parents", c: plan.Copy{Paths: []string{"/dir/sub/two", "/a.txt"}, Dest: "/d/", Parents: true},
		want: "d711 0:0 d/dir/sub\nd750 0:0 d/dir\nd755 0:0 d\nf600 0:0 d/dir/sub/two 2\nf644 0:0 d/a.txt A"},
	{name: "parents with pivot", c: plan.Copy{Paths: []string{"/dir/./sub/two"}, Dest: "/d", Parents: true}, want: "d711 0:0 d/sub\nd755 0:0 d\nf600 0:0 d/sub/two 2"},
	{name: "parents with stars", c: plan.Copy{Paths: []string{"/**/two"}, Dest: "/d", Parents: true},
		want: "d711 0:0 d/dir/sub\nd750 0:0 d/dir\nd755 0:0 d\nf600 0:0 d/dir/sub/two 2"},
	{name: "parents of a directory", c: plan.Copy{Paths: []string{"/dir/sub"}, Dest: "/", Parents: true}, want: "d711 0:0 dir/sub\nd750 0:0 dir\nf600 0:0 dir/sub/two 2"},
	{name: "parents of nothing", c: plan.Copy{Paths: []string{"/dir/none"}, Dest: "/d", Parents: true}, err: `"/dir/none": not found`, kind: errdefs.NotFound},
	{name: "parents, wildcard of nothing", c: plan.Copy{Paths: []string{"/dir/none*"}, Dest: "/d", Parents: true}, want: "d755 0:0 d"},
	{name: "exclude", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/", Exclude: []string{"*", "!sub/two"}}, want: "d711 0:0 sub\nf600 0:0 sub/two 2"},
	{name: "exclude among files", c: plan.Copy{Paths: []string{"/*.*"}, Dest: "/", Exclude: []string{"*.sh"}}, want: "f644 0:0 a.txt A"},
	{name: "exclude with bad pattern", c: plan.Copy{Paths: []string{"/dir"}, Dest: "/", Exclude: []string{"[a"}}, err: "syntax error in pattern", kind: errdefs.InvalidArgument},
	{name: "here-document", c: plan.Copy{Files: []plan.File{{Name: "EOF", Data: []byte("hi"), Mode: 0o644}}, Dest: "/d/", Chown: "3:4", Chmod: "755"},
		want: "d755 3:4 d\nf755 3:4 d/EOF hi"},
	{name: "here-document to a name", c: plan.Copy{Files: []plan.File{{Name: "EOF", Data: []byte("hi"), Mode: 0o644}}, Dest: "/conf"}, want: "f644 0:0 conf hi"},
	{name: "context root", c: plan.Copy{Paths: []string{"/"}, Dest: "/d", Exclude: []string{"*", "!a.txt"}}, want: "d755 0:0 d\nf644 0:0 d/a.txt A"},
}

func TestInto(t *testing.T) {
	ctx := t.TempDir()
	grow(t, ctx, sample)
	tree := contextOf(t, ctx)
	before := countFDs(t)
	for _, tt := range copies {
		t.Run(tt.name, func(t *testing.T) {
			into := t.TempDir()
			grow(t, into, tt.before)
			_, err := run(t, tree, into, &tt.c)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || tt.kind != 0 && !errors.Is(err, tt.kind) {
					t.Errorf("error %v, want %q of kind %v", err, tt.err, tt.kind)
				} else if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), into) {
					t.Errorf("error %q", err)
				}
				return
			}
			must(t, err)
			if got := show(t, into); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	if after := countFDs(t); after != before {
		t.Errorf("%d descriptors were open, %d are", before, after)
	}
}
