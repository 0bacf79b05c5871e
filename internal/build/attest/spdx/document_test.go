package spdx

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/build/attest/packages"
)

func inventory() *packages.Inventory {
	return &packages.Inventory{
		Distro: packages.Distro{ID: "debian", VersionID: "12", Name: "Debian GNU/Linux 12 (bookworm)"},
		Packages: []packages.Package{
			{Kind: "apk", Name: "musl", Version: "1.2.5-r0", Arch: "x86_64", Source: "musl", SourceVersion: "1.2.5-r0", Licences: []string{"MIT"}},
			{Kind: "deb", Name: "libstdc++6", Version: "12.2.0-14", Arch: "amd64", Source: "gcc-12", SourceVersion: "12.2.0-14",
				Maintainer: "Debian GCC Maintainers <debian-gcc@lists.debian.org>", Homepage: "http://gcc.gnu.org/", Licences: []string{"GPL-3+ with GCC-exception-3.1", "GFDL-1.2"}},
			{Kind: "deb", Name: "libstdc--6", Version: "12.2.0-14", Arch: "amd64", Homepage: "javascript:alert(1)"},
			{Kind: "rpm", Name: "bash", Version: "5.2-1", Epoch: "2", Arch: "x86_64", Source: "bash", SourceVersion: "5.1", Maintainer: "Fedora Project"},
		},
		Unread: []string{"/var/lib/rpm/Packages (rpm)"},
	}
}

// TestRequired checks what the specification requires of every document: the
// fields, their forms, and that every reference leads somewhere.
func TestRequired(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 0, 0, 5, time.UTC)
	d, err := New(inventory(), Options{Name: "docker.io/library/web:1", Created: at, Tool: "berth-1"})
	if err != nil {
		t.Fatal(err)
	}
	if d.SPDXVersion != "SPDX-2.3" || d.DataLicense != "CC0-1.0" || d.SPDXID != "SPDXRef-DOCUMENT" || d.Name != "docker.io/library/web:1" {
		t.Errorf("%+v", d)
	}
	if !regexp.MustCompile(`^https://spdx\.org/spdxdocs/berth-[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(d.DocumentNamespace) {
		t.Errorf("namespace %s", d.DocumentNamespace)
	}
	if d.CreationInfo.Created != "2024-02-29T12:00:00Z" || !slices.Equal(d.CreationInfo.Creators, []string{"Tool: berth-1"}) {
		t.Errorf("%+v", d.CreationInfo)
	}
	if !strings.Contains(d.Comment, "/var/lib/rpm/Packages") {
		t.Errorf("what was not read is not told: %q", d.Comment)
	}
	id := regexp.MustCompile(`^SPDXRef-[a-zA-Z0-9.-]+$`)
	ids := map[string]bool{d.SPDXID: true}
	contained := map[string]bool{}
	for _, p := range d.Packages {
		if !id.MatchString(p.SPDXID) || ids[p.SPDXID] {
			t.Errorf("%q is no id, or not the first of its kind", p.SPDXID)
		}
		ids[p.SPDXID] = true
		if p.Name == "" || p.DownloadLocation == "" || p.LicenseConcluded == "" || p.LicenseDeclared == "" || p.CopyrightText == "" || p.FilesAnalyzed {
			t.Errorf("%+v", p)
		}
		for _, r := range p.ExternalRefs {
			if r.Category != "PACKAGE-MANAGER" || r.Type != "purl" || !strings.HasPrefix(r.Locator, "pkg:") {
				t.Errorf("%+v", r)
			}
		}
	}
	for _, r := range d.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("%+v leads nowhere", r)
		}
		if r.Type == "CONTAINS" {
			contained[r.Related] = true
		}
	}
	if len(contained) != len(d.Packages)-1 {
		t.Errorf("the image contains %d of %d packages", len(contained), len(d.Packages)-1)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := New(inventory(), Options{Name: "docker.io/library/web:1", Created: at, Tool: "berth-1"})
	c, _ := json.Marshal(again)
	if string(b) != string(c) {
		t.Error("the same input gives other bytes")
	}
	later, _ := New(inventory(), Options{Name: "docker.io/library/web:1", Created: at.Add(time.Hour), Tool: "berth-1"})
	if later.DocumentNamespace == d.DocumentNamespace {
		t.Error("two documents have one namespace")
	}
}

func TestPackages(t *testing.T) {
	d, err := New(inventory(), Options{Tool: "berth-1"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Package{}
	for _, p := range d.Packages {
		got[p.Name] = p
	}
	for name, want := range map[string][4]string{
		"musl":       {"pkg:apk/debian/musl@1.2.5-r0?arch=x86_64&distro=debian-12", "MIT", "NOASSERTION", "1.2.5-r0"},
		"libstdc++6": {"pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12", "GPL-3.0-or-later WITH GCC-exception-3.1 AND GFDL-1.2-only", "Organization: Debian GCC Maintainers (debian-gcc@lists.debian.org)", "12.2.0-14"},
		"bash":       {"pkg:rpm/debian/bash@5.2-1?arch=x86_64&distro=debian-12&epoch=2&upstream=bash%405.1", "NOASSERTION", "Organization: Fedora Project", "2:5.2-1"},
	} {
		p := got[name]
		if p.ExternalRefs[0].Locator != want[0] || p.LicenseDeclared != want[1] || p.Supplier != want[2] || p.VersionInfo != want[3] {
			t.Errorf("%s: %+v, want %q", name, p, want)
		}
	}
	if got["libstdc--6"].Homepage != "" || got["libstdc++6"].Homepage == "" {
		t.Error("a homepage is an address of the web")
	}
	if got["image"].Purpose != "CONTAINER" || got["debian"].VersionInfo != "12" {
		t.Errorf("%+v", got["image"])
	}
}

func TestLicences(t *testing.T) {
	for _, c := range []struct {
		in   []string
		want string
	}{
		{nil, "NOASSERTION"},
		{[]string{"none", ""}, "NOASSERTION"},
		{[]string{"MIT"}, "MIT"},
		{[]string{"mit", "Expat"}, "MIT"},
		{[]string{"GPL-2+"}, "GPL-2.0-or-later"},
		{[]string{"GPLv3"}, "GPL-3.0-only"},
		{[]string{"LGPL-2.1+ or BSD-3-clause", "Apache-2"}, "(LGPL-2.1-or-later OR BSD-3-Clause) AND Apache-2.0"},
		{[]string{"GPL-2.0-only AND (MIT OR ISC)"}, "GPL-2.0-only AND (MIT OR ISC)"},
		{[]string{"MPL-2.0+"}, "MPL-2.0+"},
		{[]string{"GPL-1+ or MIT, and ISC, or Zlib"}, "((GPL-1.0-or-later OR MIT) AND ISC) OR Zlib"},
		{[]string{"GPL-2, MIT"}, "LicenseRef-GPL-2--MIT-" + shortSum("GPL-2, MIT")},
		{[]string{"public-domain"}, "LicenseRef-public-domain"},
		{[]string{"GPL-2+ with openssl"}, "LicenseRef-GPL-2--with-openssl-" + shortSum("GPL-2+ with openssl")},
		{[]string{"GPL2 BSD"}, "LicenseRef-GPL2-BSD-" + shortSum("GPL2 BSD")},
		{[]string{"(MIT"}, "LicenseRef--MIT-" + shortSum("(MIT")},
		{[]string{"LicenseRef-x"}, "LicenseRef-LicenseRef-x"},
	} {
		if got := newLicences().declared(c.in); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
	l := newLicences()
	l.declared([]string{"b c", "a"})
	if got := l.extracted(); len(got) != 2 || got[0].ID != "LicenseRef-a" || got[1].Text != "b c" {
		t.Errorf("%+v", got)
	}
}

// FuzzLicence: whatever a package declares, what is written is an expression of
// known names and of references that the document explains.
func FuzzLicence(f *testing.F) {
	f.Add("GPL-2+ or (MIT and x)")
	f.Add("((((")
	reference := regexp.MustCompile(`^LicenseRef-[a-zA-Z0-9.-]+$`)
	f.Fuzz(func(t *testing.T, text string) {
		l := newLicences()
		e := l.declared([]string{text, "MIT"})
		depth := 0
		for _, w := range lex(e) {
			switch {
			case w == "AND", w == "OR", w == "WITH":
			case w == "(":
				depth++
			case w == ")":
				depth--
			case reference.MatchString(w) && l.texts[w] != "":
			case known(w) == w, knownException(w) == w:
			default:
				t.Errorf("%q: %s has the word %q", text, e, w)
			}
		}
		if depth != 0 {
			t.Errorf("%q: %s", text, e)
		}
	})
}
