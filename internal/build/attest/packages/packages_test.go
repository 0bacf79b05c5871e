package packages

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
)

// tree makes a file tree and opens it.
func tree(t *testing.T, files map[string]string) *os.File {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := rootpath.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

const status = `Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u10
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Description: GNU C Library: Shared libraries
 Contains the standard libraries.
 .
 Package: not a field
Homepage: https://www.gnu.org/software/libc/libc.html

Package: gone
Status: deinstall ok config-files
Version: 1

Package: never
Status: unknown ok not-installed

Package: half
Status: install ok half-configured
Version: 1:2.0-1
Source: half-src (1:2.0)
`

const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: glibc

Files: *
Copyright: 1991-2022 FSF
License: LGPL-2.1+

Files: a b
License: LGPL-2.1+

Files: c
License: BSD-3-clause and MIT
 some text

License: LGPL-2.1+
 the whole text
`

func TestRead(t *testing.T) {
	root := tree(t, map[string]string{
		"usr/lib/os-release":            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\n# x\n",
		dpkgStatus:                      status,
		dpkgFragments + "/base":         "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n",
		dpkgFragments + "/base.md5sums": "Package: wrong\nVersion: 1\n",
		"usr/share/doc/libc6/copyright": copyright,
		"lib/apk/db/installed":          "C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nT:the musl c library\nU:https://musl.libc.org/\nL:MIT\no:musl\nm:N <n@x>\nF:lib\nR:x\nP:wrong\n\nP:ssl\nV:3\no:openssl\nL:Apache-2.0\n",
		"var/lib/rpm/Packages":          "x",
	})
	inv, err := Read(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	want := &Inventory{
		Distro: Distro{ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)"},
		Packages: []Package{
			{Kind: Apk, Name: "musl", Version: "1.2.5-r0", Arch: "x86_64", Source: "musl", SourceVersion: "1.2.5-r0", Summary: "the musl c library",
				Homepage: "https://musl.libc.org/", Maintainer: "N <n@x>", Licences: []string{"MIT"}},
			{Kind: Apk, Name: "ssl", Version: "3", Source: "openssl", SourceVersion: "3", Licences: []string{"Apache-2.0"}},
			{Kind: Deb, Name: "base-files", Version: "12.4", Arch: "amd64", Source: "base-files", SourceVersion: "12.4"},
			{Kind: Deb, Name: "half", Version: "1:2.0-1", Source: "half-src", SourceVersion: "1:2.0"},
			{Kind: Deb, Name: "libc6", Version: "2.36-9+deb12u10", Arch: "amd64", Source: "glibc", SourceVersion: "2.36-9+deb12u10",
				Summary: "GNU C Library: Shared libraries", Homepage: "https://www.gnu.org/software/libc/libc.html",
				Maintainer: "GNU Libc Maintainers <debian-glibc@lists.debian.org>", Licences: []string{"LGPL-2.1+", "BSD-3-clause and MIT"}},
		},
		Unread: []string{"/var/lib/rpm/Packages (rpm)"},
	}
	for i := range want.Packages { // nil and empty lists are the same
		if len(inv.Packages) > i && len(inv.Packages[i].Licences) == 0 {
			inv.Packages[i].Licences = nil
		}
	}
	if !reflect.DeepEqual(inv, want) {
		t.Errorf("got  %+v\nwant %+v", inv, want)
	}
}

func TestReadNothing(t *testing.T) {
	inv, err := Read(t.Context(), tree(t, nil))
	if err != nil || !reflect.DeepEqual(inv, &Inventory{}) {
		t.Errorf("%+v, %v", inv, err)
	}
}

// TestReadStaysInside: an image's links count from its own root.
func TestReadStaysInside(t *testing.T) {
	outside := t.TempDir()
	secret := filepath.Join(outside, "status")
	if err := os.WriteFile(secret, []byte("Package: secret\nVersion: 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	root := tree(t, map[string]string{"var/lib/dpkg/x": ""})
	if err := os.Symlink(secret, filepath.Join(root.Name(), dpkgStatus)); err != nil {
		t.Fatal(err)
	}
	inv, err := Read(t.Context(), root)
	if err != nil || len(inv.Packages) != 0 {
		t.Errorf("a file of the host was read: %+v, %v", inv, err)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, make := range map[string]func(dir string) error{
		"a FIFO": func(dir string) error { return unix.Mkfifo(dir+"/"+dpkgStatus, 0o644) },
		"a huge file": func(dir string) error {
			f, err := os.Create(dir + "/" + dpkgStatus)
			must(t, err)
			defer f.Close()
			return f.Truncate(1 << 40)
		},
		"a loop of links": func(dir string) error { return os.Symlink("status", dir+"/"+dpkgStatus) },
	} {
		root := tree(t, map[string]string{"var/lib/dpkg/x": ""})
		if err := make(root.Name()); err != nil {
			t.Fatal(err)
		}
		if inv, err := Read(t.Context(), root); err == nil {
			t.Errorf("%s: %+v", name, inv)
		} else if !strings.Contains(err.Error(), "/"+dpkgStatus) {
			t.Errorf("%s: %v does not name the file", name, err)
		}
	}
	many := strings.Repeat("Package: a\nVersion: 1\n\n", maxPackages+1)
	if _, err := Read(t.Context(), tree(t, map[string]string{dpkgStatus: many})); !errors.Is(err, errdefs.Exhausted) {
		t.Errorf("too many packages: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnquote(t *testing.T) {
	for in, want := range map[string]string{`a`: "a", `"a b"`: "a b", `'a "b"'`: `a "b"`, `"a\"b\\c"`: `a"b\c`, `"`: `"`, ``: ``, `a\`: `a\`} {
		if got := unquote(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestPrintable: what an image says becomes text of a document and of a terminal.
func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{"a\x1b[2Jb": "a [2Jb", "\xff": "�", " a\n b ": "a  b", strings.Repeat("x", 2*maxValue): strings.Repeat("x", maxValue)} {
		if got := printable(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestProseHasNoLicences(t *testing.T) {
	if got := parseCopyright("This is GPL.\n\nFiles: *\nLicense: MIT\n"); got != nil {
		t.Errorf("%v", got)
	}
}
