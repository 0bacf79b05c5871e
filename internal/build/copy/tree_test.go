package copy

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// grow makes files in dir. Each line is one of
//
//	d MODE PATH      f MODE PATH [CONTENT]      l PATH TARGET      h PATH OLD
//	p PATH           s PATH                     c PATH MAJOR MINOR
//	o UID:GID PATH   x PATH NAME=VALUE
func grow(t testing.TB, dir, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		at := func(i int) string { return filepath.Join(dir, f[i]) }
		mode := func() os.FileMode {
			n, err := strconv.ParseUint(f[1], 8, 32)
			must(t, err)
			return os.FileMode(n)
		}
		switch f[0] {
		case "d":
			must(t, os.MkdirAll(at(2), 0o755))
			must(t, unix.Chmod(at(2), uint32(mode())))
		case "f":
			must(t, os.MkdirAll(filepath.Dir(at(2)), 0o755))
			must(t, os.WriteFile(at(2), []byte(strings.Join(f[3:], " ")), 0o600))
			must(t, unix.Chmod(at(2), uint32(mode())))
		case "l":
			must(t, os.MkdirAll(filepath.Dir(at(1)), 0o755))
			must(t, os.Symlink(f[2], at(1)))
		case "h":
			must(t, os.Link(at(2), at(1)))
		case "p":
			must(t, unix.Mkfifo(at(1), 0o640))
		case "s":
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			must(t, err)
			must(t, os.Chdir(filepath.Dir(at(1)))) // names of sockets are short
			must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: filepath.Base(at(1))}))
			must(t, unix.Close(fd))
		case "c":
			a, _ := strconv.Atoi(f[2])
			b, _ := strconv.Atoi(f[3])
			must(t, unix.Mknod(at(1), unix.S_IFCHR|0o600, int(unix.Mkdev(uint32(a), uint32(b)))))
		case "o":
			var u, g int
			_, err := fmt.Sscanf(f[1], "%d:%d", &u, &g)
			must(t, err)
			must(t, os.Lchown(at(2), u, g))
		case "x":
			name, value, _ := strings.Cut(f[2], "=")
			must(t, unix.Lsetxattr(at(1), name, []byte(value), 0))
		default:
			t.Fatalf("line %q", line)
		}
	}
}

// show lists what is in dir, a line for each file: kind, mode, owner, path, and
// content or link target; names of one inode are marked by "&" and the first of them.
func show(t testing.TB, dir string) string {
	t.Helper()
	var lines []string
	first := map[uint64]string{}
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		must(t, err)
		rel, _ := filepath.Rel(dir, path)
		if rel == "." {
			return nil
		}
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		line := fmt.Sprintf("%c%o %d:%d %s", kindOf(st.Mode), st.Mode&0o7777, st.Uid, st.Gid, rel)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			must(t, err)
			if len(b) > 0 && len(b) < 100 {
				line += " " + string(b)
			}
			if st.Nlink > 1 {
				if old := first[st.Ino]; old != "" {
					line += " &" + old
				} else {
					first[st.Ino] = rel
				}
			}
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			must(t, err)
			line = fmt.Sprintf("l %d:%d %s -> %s", st.Uid, st.Gid, rel, target)
		case unix.S_IFCHR:
			line += fmt.Sprintf(" %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		lines = append(lines, line)
		return nil
	}))
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// open opens a directory as the root of a tree.
func open(t testing.TB, dir string) *os.File {
	t.Helper()
	root, err := rootpath.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// context opens dir as a build context.
func contextOf(t testing.TB, dir string) *source.Tree {
	t.Helper()
	tree, err := source.Dir(dir)
	must(t, err)
	t.Cleanup(func() { tree.Close() })
	return tree
}

// run copies from the directory from into the directory into, and checks that
// the digest stays what it is.
func run(t testing.TB, tree *source.Tree, into string, c *plan.Copy) (oci.Digest, error) {
	t.Helper()
	s := Sources{Main: tree}
	digest, err := Digest(context.Background(), s, c, nil)
	if err != nil {
		return "", err
	}
	return digest, Into(context.Background(), s, c, open(t, into), Options{Expect: digest})
}

// countFDs is for telling whether descriptors leak.
func countFDs(t testing.TB) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}
