package reference

import (
	"strings"
	"testing"

	"berth/internal/errdefs"
)

const hex64 = "7cc4b5aefd1d0cadf8d97d4350462ba51c694ebca145b08d7d41b41acc8db5aa"

func TestParse(t *testing.T) {
	for _, c := range []struct{ in, full, familiar, domain, path string }{
		{"busybox", "docker.io/library/busybox:latest", "busybox:latest", "docker.io", "library/busybox"},
		{"busybox:1.37", "docker.io/library/busybox:1.37", "busybox:1.37", "docker.io", "library/busybox"},
		{"docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest", "docker.io", "library/busybox"},
		{"index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox:latest", "docker.io", "library/busybox"},
		{"library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest", "docker.io", "library/a/b"},
		{"team/app", "docker.io/team/app:latest", "team/app:latest", "docker.io", "team/app"},
		{"localhost/app", "localhost/app:latest", "localhost/app:latest", "localhost", "app"},
		{"localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000", "app"},
		{"127.0.0.1:5000/a/b__c-d.e:V1", "127.0.0.1:5000/a/b__c-d.e:V1", "127.0.0.1:5000/a/b__c-d.e:V1", "127.0.0.1:5000", "a/b__c-d.e"},
		{"[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest", "[::1]:5000", "app"},
		{"[fe80::1]/app", "[fe80::1]/app:latest", "[fe80::1]/app:latest", "[fe80::1]", "app"},
		{"Host/app", "Host/app:latest", "Host/app:latest", "Host", "app"},
		{"a@sha256:" + hex64, "docker.io/library/a@sha256:" + hex64, "a@sha256:" + hex64, "docker.io", "library/a"},
		{"a:1@sha256:" + hex64, "docker.io/library/a:1@sha256:" + hex64, "a:1@sha256:" + hex64, "docker.io", "library/a"},
	} {
		n, err := Parse(c.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.in, err)
			continue
		}
		if n.String() != c.full || n.Familiar() != c.familiar || n.Domain() != c.domain || n.Path() != c.path || n.Name() != c.domain+"/"+c.path {
			t.Errorf("Parse(%q) = %q, %q, %q, %q", c.in, n.String(), n.Familiar(), n.Domain(), n.Path())
		}
		if again, err := Parse(n.Familiar()); err != nil || again != n {
			t.Errorf("Parse(Familiar(%q)) = %v, %v", c.in, again, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "invalid reference format",
		":":                                  "invalid reference format",
		"a:":                                 "invalid reference format",
		"a@":                                 "invalid reference format",
		"-a":                                 "invalid reference format",
		"a..b":                               "invalid reference format",
		"a___b":                              "invalid reference format",
		"a/":                                 "invalid reference format",
		"/a":                                 "invalid reference format",
		"a//b":                               "invalid reference format",
		"../a":                               "invalid reference format",
		"host.example:port/a":                "invalid reference format",
		"a b":                                "invalid reference format",
		"a\n":                                "invalid reference format",
		"foo_bar.com/a":                      "invalid reference format",
		"a:" + strings.Repeat("x", 129):      "invalid reference format",
		"Busybox":                            "invalid reference format: repository name (library/Busybox) must be lowercase",
		"team/App:1":                         "invalid reference format: repository name (team/App) must be lowercase",
		"Foo_bar/a":                          "repository name must be lowercase",
		hex64:                                "invalid repository name (" + hex64 + "), cannot specify 64-byte hexadecimal strings",
		strings.Repeat("a", 256):             "repository name must not be more than 255 characters",
		"a@sha256:" + hex64[1:]:              "invalid checksum digest length",
		"a@sha256:" + strings.ToUpper(hex64): "invalid checksum digest format",
		"a@sha512:" + hex64:                  "unsupported digest algorithm",
		"a@sha256:../../etc/passwd":          "invalid reference format",
	} {
		n, err := Parse(in)
		if err == nil || err.Error() != want || errdefs.KindOf(err) != errdefs.InvalidArgument || n != (Named{}) {
			t.Errorf("Parse(%q) = %v, %v; want error %q", in, n, err, want)
		}
	}
}

func TestParseExact(t *testing.T) {
	n, err := ParseExact("busybox")
	if err != nil || !n.IsNameOnly() || n.String() != "docker.io/library/busybox" || n.Familiar() != "busybox" {
		t.Fatalf("%v, %v", n, err)
	}
	tagged, err := n.WithTag("1")
	if err != nil || tagged.Familiar() != "busybox:1" || tagged.Repository() != n {
		t.Fatalf("%v, %v", tagged, err)
	}
	if _, err := n.WithTag("../x"); err == nil {
		t.Fatal("bad tag accepted")
	}
	if d := tagged.WithDigest("sha256:" + hex64); d.Familiar() != "busybox@sha256:"+hex64 {
		t.Fatal(d)
	}
	if z := (Named{}); z.Path() != "" || z.Domain() != "" || z.String() != "" || z.Familiar() != "" {
		t.Fatalf("zero value: %q", z)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"busybox", "a/b:c", "h.x:1/a@sha256:" + hex64, "[::1]:5/a", "A/b", "a__b--c.d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			return
		}
		for _, form := range []string{n.String(), n.Familiar()} {
			if again, err := Parse(form); err != nil || again != n {
				t.Fatalf("Parse(%q) = %v; its form %q gives %v, %v", s, n, form, again, err)
			}
		}
		// A name becomes a key of a file and a part of a URL: it must stay one.
		if strings.ContainsAny(n.String(), "\\ \n\x00%?#") || strings.Contains(n.Path(), "..") || strings.Contains(n.Path(), "//") {
			t.Fatalf("Parse(%q) = %q", s, n)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("busybox:latest"); err != nil {
			b.Fatal(err)
		}
	}
}
