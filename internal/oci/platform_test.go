package oci

import "testing"

func TestParsePlatform(t *testing.T) {
	host := HostPlatform()
	for in, want := range map[string]string{
		"linux/amd64":    "linux/amd64",
		"linux/amd64/v1": "linux/amd64",
		"linux/amd64/v3": "linux/amd64/v3",
		"Linux/x86_64":   "linux/amd64",
		"linux/aarch64":  "linux/arm64",
		"linux/arm64/v8": "linux/arm64",
		"linux/arm64/8":  "linux/arm64",
		"linux/arm":      "linux/arm/v7",
		"linux/arm/7":    "linux/arm/v7",
		"armhf":          host.OS + "/arm/v7",
		"arm64":          host.OS + "/arm64",
		"windows":        "windows/" + host.Architecture,
	} {
		if p, err := ParsePlatform(in); err != nil || p.String() != want {
			t.Errorf("ParsePlatform(%q) = %v, %v; want %s", in, p, err, want)
		}
	}
	for _, in := range []string{"", "/", "a/", "a//b", "a/b/c/d", "linux/am d64", "linux/\n", "amd46"} {
		if p, err := ParsePlatform(in); err == nil {
			t.Errorf("ParsePlatform(%q) = %v", in, p)
		}
	}
}

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		want string
		has  []string // "" : a manifest without a platform
		got  int      // -1: none
	}{
		{"linux/amd64", []string{"linux/arm64/v8", "linux/amd64"}, 1},
		{"linux/amd64", []string{"linux/386", "linux/amd64"}, 1},
		{"linux/amd64", []string{"linux/386"}, 0},
		{"linux/amd64", []string{"linux/amd64/v2", "linux/amd64/v1"}, 1},
		{"linux/amd64", []string{"linux/amd64/v2"}, -1},
		{"linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, 1},
		{"linux/arm64", []string{"linux/arm/v7", "linux/arm64/v8"}, 1},
		{"linux/arm64", []string{"linux/arm/v6", "linux/arm/v7"}, 1},
		{"linux/arm64", []string{"linux/arm64/v9"}, -1},
		{"linux/arm64/v9", []string{"linux/arm64"}, 0},
		{"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6"}, 1},
		{"linux/arm/v6", []string{"linux/arm/v7", "linux/arm/v5"}, 1},
		{"linux/arm/v6", []string{"linux/arm/v7"}, -1},
		{"linux/arm", []string{"linux/arm/v7"}, 0},
		{"linux/amd64", []string{"windows/amd64", "unknown/unknown"}, -1},
		{"linux/amd64", []string{"linux/amd64", "linux/amd64"}, 0},
		{"linux/amd64", []string{"", "linux/amd64"}, 1},
		{"linux/amd64", []string{"", "linux/arm64"}, 0},
		{"linux/riscv64", []string{"linux/amd64", "linux/riscv64"}, 1},
		{"linux/amd64", nil, -1},
	} {
		p, err := ParsePlatform(c.want)
		if err != nil {
			t.Fatal(err)
		}
		var ds []Descriptor
		for i, s := range c.has {
			d := Descriptor{Size: int64(i)}
			if s != "" {
				q, err := ParsePlatform(s)
				if err != nil {
					t.Fatal(err)
				}
				d.Platform = &q
			}
			ds = append(ds, d)
		}
		d, ok := p.Select(ds)
		if ok != (c.got >= 0) || ok && d.Size != int64(c.got) {
			t.Errorf("%s of %q: %d, %v; want %d", c.want, c.has, d.Size, ok, c.got)
		}
	}
}

func FuzzParsePlatform(f *testing.F) {
	f.Add("linux/arm/v7")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePlatform(s)
		if err != nil {
			return
		}
		if again, err := ParsePlatform(p.String()); err != nil || again.String() != p.String() {
			t.Fatalf("%q: %v, then %v, %v", s, p, again, err)
		}
		p.Runs(p)
	})
}
