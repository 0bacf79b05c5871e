// Package reference compares berth's hand-written parser of image names with
// the one Docker uses, string by string. It is a module of its own so that the
// oracle stays out of berth's dependencies.
package reference

import (
	_ "crypto/sha512" // the oracle knows a digest algorithm only if it is linked
	"strings"
	"testing"

	oracle "github.com/distribution/reference"

	"berth/internal/reference"
)

// difference describes how the two disagree about s, or returns "".
func difference(s string) string {
	want, wantErr := oracle.ParseNormalizedNamed(s)
	got, gotErr := reference.ParseExact(s)
	switch {
	case wantErr == nil && deliberate(want):
		if gotErr == nil {
			return "accepted, though berth means to refuse it"
		}
		return ""
	case (wantErr == nil) != (gotErr == nil):
		return "errors differ: want " + text(wantErr) + ", got " + text(gotErr)
	case wantErr != nil:
		if wantErr.Error() != gotErr.Error() && !twoFaults(s, gotErr) {
			return "texts differ: want " + wantErr.Error() + ", got " + gotErr.Error()
		}
		return ""
	}
	var tag, digest string
	if t, ok := want.(oracle.Tagged); ok {
		tag = t.Tag()
	}
	if d, ok := want.(oracle.Digested); ok {
		digest = d.Digest().String()
	}
	for _, pair := range [][2]string{
		{want.String(), got.String()},
		{want.Name(), got.Name()},
		{oracle.Domain(want), got.Domain()},
		{oracle.Path(want), got.Path()},
		{oracle.FamiliarString(want), got.Familiar()},
		{oracle.FamiliarName(want), got.FamiliarName()},
		{tag, got.Tag()},
		{digest, string(got.Digest())},
	} {
		if pair[0] != pair[1] {
			return "want " + pair[0] + ", got " + pair[1]
		}
	}
	full, err := reference.Parse(s)
	if err != nil || full.String() != oracle.TagNameOnly(want).String() {
		return "with the default tag: want " + oracle.TagNameOnly(want).String() + ", got " + full.String()
	}
	return ""
}

// deliberate tells the names that the oracle accepts and berth refuses: those
// whose first element looks like a host and cannot be one ("foo_bar.com/x":
// the oracle then returns a name without a registry, which no pull can use),
// and digests other than SHA-256.
func deliberate(n oracle.Named) bool {
	if oracle.Domain(n) == "" {
		return true
	}
	d, ok := n.(oracle.Digested)
	return ok && d.Digest().Algorithm() != "sha256"
}

// twoFaults reports whether one of the deliberate differences meets another
// fault in s: the two may then name different ones first.
func twoFaults(s string, got error) bool {
	host, _, _ := strings.Cut(s, "/")
	return strings.Contains(host, "_") || got.Error() == "unsupported digest algorithm"
}

func text(err error) string {
	if err == nil {
		return "none"
	}
	return err.Error()
}

const hex64 = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"

// parts are what names are made of, well formed and not; every sequence of a
// few of them is compared.
func parts() []string {
	return []string{
		"a", "B", "0", "library", "localhost", "docker.io", "index.docker.io", "x.y", "foo_bar.z", "_", "__", "___", ".", "..", "-", "--",
		"/", ":", "@", "[::1]", "[]", "[", "]", "5000", "latest", "sha256:" + hex64, "sha256:" + hex64[:40], "sha512:" + hex64 + hex64,
		"sha256:" + strings.ToUpper(hex64), "SHA256:" + hex64, "md5:" + hex64[:32], "s.t+u:" + hex64, hex64, " ", "\n", "\x00", "\xff", "é", "\u212a",
		strings.Repeat("b", 128), strings.Repeat("c", 247),
	}
}

func TestCombinations(t *testing.T) {
	all, n := parts(), 0
	check := func(s string) {
		n++
		if d := difference(s); d != "" {
			t.Errorf("%q: %s", s, d)
		}
	}
	check("")
	for _, a := range all {
		check(a)
		for _, b := range all {
			check(a + b)
			for _, c := range all {
				check(a + b + c)
			}
		}
	}
	for _, head := range []string{"a", "a/b", "x.y/", "localhost:5000/a", "B/", "foo_bar.z/", "docker.io/", "[::1]:1/"} {
		for _, a := range all {
			for _, b := range all {
				check(head + a + b)
				check(head + ":" + a + "@" + b)
			}
		}
	}
	t.Logf("%d names compared", n)
}

func FuzzParse(f *testing.F) {
	for _, p := range parts() {
		f.Add(p)
		f.Add("x.y:80/" + p + ":t@sha256:" + hex64)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := difference(s); d != "" {
			t.Fatalf("%q: %s", s, d)
		}
	})
}
