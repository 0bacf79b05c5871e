package packages

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// checkAll holds what every parser promises, whatever it read.
func checkAll(t *testing.T, all []Package) {
	t.Helper()
	if len(all) > maxPackages+1 {
		t.Errorf("%d packages", len(all))
	}
	for _, p := range all {
		for _, s := range append([]string{p.Name, p.Version, p.Arch, p.Source, p.SourceVersion, p.Summary, p.Homepage, p.Maintainer}, p.Licences...) {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\n\x00\x1b") || len(s) > 3*maxValue {
				t.Errorf("%q is not fit for a document", s)
			}
		}
		if p.Name == "" || p.Version == "" {
			t.Errorf("a package without name or version: %+v", p)
		}
	}
}

func FuzzDpkg(f *testing.F) {
	f.Add(status)
	f.Add("Package: a\nVersion: 1\n\n\nPackage:\n b\n")
	f.Fuzz(func(t *testing.T, text string) { checkAll(t, parseDpkg(text)) })
}

func FuzzApk(f *testing.F) {
	f.Add("P:musl\nV:1\nF:lib\n\nP:\n")
	f.Fuzz(func(t *testing.T, text string) { checkAll(t, parseApk(text)) })
}

func FuzzCopyright(f *testing.F) {
	f.Add(copyright)
	f.Fuzz(func(t *testing.T, text string) {
		all := parseCopyright(text)
		p := Package{Name: "x", Version: "1", Licences: all}
		p.clean()
		checkAll(t, []Package{p})
		if len(all) > maxLicences {
			t.Errorf("%d licences", len(all))
		}
	})
}

func FuzzOSRelease(f *testing.F) {
	f.Add("ID=debian\nVERSION_ID=\"12\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseOSRelease(text)
		checkAll(t, []Package{{Name: "x", Version: "1", Arch: d.ID, Source: d.VersionID, Summary: d.Name}})
	})
}
