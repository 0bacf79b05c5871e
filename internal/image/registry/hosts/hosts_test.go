package hosts

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"berth/internal/errdefs"
	"berth/internal/reference"
)

func named(t testing.TB, s string) reference.Named {
	t.Helper()
	n, err := reference.ParseExact(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// urls writes hosts as "SCHEME://ADDR ROOT PATH RIGHTS".
func urls(list []Host) (out []string) {
	for _, h := range list {
		rights := ""
		if h.Resolve {
			rights += "r"
		}
		if h.Pull {
			rights += "p"
		}
		out = append(out, h.Scheme+"://"+h.Addr+h.Root+" "+h.Path+" "+rights)
	}
	return out
}

func TestMirrors(t *testing.T) {
	const setting = `
# two for all, one for a part
docker.io         = mirror.example http://cache:5000
docker.io/library = https://harbor.example/hub/library/
ghcr.io/team      = other.example/x
`
	for name, want := range map[string][]string{
		"alpine":            {"https://harbor.example/v2 hub/library/alpine rp", "://registry-1.docker.io/v2 library/alpine rp"},
		"team/app":          {"://mirror.example/v2 team/app rp", "http://cache:5000/v2 team/app rp", "://registry-1.docker.io/v2 team/app rp"},
		"libraryx/app":      {"://mirror.example/v2 libraryx/app rp", "http://cache:5000/v2 libraryx/app rp", "://registry-1.docker.io/v2 libraryx/app rp"},
		"ghcr.io/team/app":  {"://other.example/v2 x/app rp", "://ghcr.io/v2 team/app rp"},
		"ghcr.io/team":      {"://other.example/v2 x rp", "://ghcr.io/v2 team rp"},
		"ghcr.io/teams/app": {"://ghcr.io/v2 teams/app rp"},
		"quay.io/a/b":       {"://quay.io/v2 a/b rp"},
	} {
		list, err := Config{Mirrors: setting, Source: "test"}.For(named(t, name))
		if err != nil || !reflect.DeepEqual(urls(list), want) {
			t.Errorf("%s: %q, %v\nwant %q", name, urls(list), err, want)
		}
		for i, h := range list {
			if h.Mirror() != (i < len(list)-1) {
				t.Errorf("%s: host %d is a mirror: %v", name, i, h.Mirror())
			}
		}
	}
}

func TestMirrorsRefuses(t *testing.T) {
	for setting, want := range map[string]string{
		"docker.io":                          "not of the form",
		"docker.io =":                        "not of the form",
		"alpine = a.example":                 "not the beginning",
		"docker.io/UPPER = a.example":        "not the beginning",
		"docker.io = ftp://a.example":        "neither https nor http",
		"docker.io = https://u:p@a.example":  "berth login",
		"docker.io = https://a.example?x=1":  "not of the form",
		"docker.io = ok.example https:///x":  "not of the form",
		"docker.io = https://a.example:port": "port",
	} {
		_, err := Config{Mirrors: setting, Source: "SETTING"}.For(named(t, "alpine"))
		if errdefs.KindOf(err) != errdefs.InvalidArgument || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "SETTING") {
			t.Errorf("%s: %v", setting, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than one line: %v", setting, err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostsToml(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"order and rights", `
server = "https://docker.io"
[host."https://z.example"]
  capabilities = ["pull", "resolve", "push"]
[host."http://a.example:5000/hub"]
  capabilities = ["pull"]
[host."https://b.example/v2/proxy"]
  override_path = true
[host."c.example"]
  capabilities = []
`, []string{"https://z.example/v2 library/alpine rp", "http://a.example:5000/hub/v2 library/alpine p", "https://b.example/v2/proxy library/alpine rp",
			"://c.example/v2 library/alpine ", "https://registry-1.docker.io/v2 library/alpine rp"}},
		{"without a server", "[host.\"https://a.example\"]\n", []string{"https://a.example/v2 library/alpine rp", "://registry-1.docker.io/v2 library/alpine rp"}},
		{"another server", "server = \"https://copy.example\"\nunknown_field = 3\n", []string{"https://copy.example/v2 library/alpine rp"}},
	} {
		dir := t.TempDir()
		write(t, dir+"/docker.io/hosts.toml", c.text)
		list, err := Config{Dirs: []string{t.TempDir(), dir}}.For(named(t, "alpine"))
		if err != nil || !reflect.DeepEqual(urls(list), c.want) {
			t.Errorf("%s: %q, %v\nwant %q", c.name, urls(list), err, c.want)
		}
		if last := list[len(list)-1]; last.Mirror() != (c.name == "another server") {
			t.Errorf("%s: the last is a mirror: %v", c.name, last.Mirror())
		}
		origin, err := Config{Dirs: []string{dir}}.Registry(named(t, "alpine"))
		if err != nil || origin.Mirror() || origin.Addr != "registry-1.docker.io" {
			t.Errorf("%s: the registry is %+v, %v", c.name, origin, err)
		}
	}
}

func TestHostsTomlPlaces(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/_default/hosts.toml", `[host."https://default.example"]`)
	write(t, dir+"/a.example_5000_/hosts.toml", `[host."https://port.example"]`)
	for name, want := range map[string]string{"a.example:5000/x": "https://port.example/v2 x rp", "b.example/x": "https://default.example/v2 x rp"} {
		list, err := Config{Dirs: []string{dir}}.For(named(t, name))
		if err != nil || len(list) != 2 || urls(list)[0] != want {
			t.Errorf("%s: %q, %v", name, urls(list), err)
		}
	}
}

func TestHostsTomlRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`[host."https://a"`: "hosts.toml",
		"[host.\"https://a\"]\ncapabilities = [\"fly\"]":           "unknown capability",
		"[host.\"ftp://a\"]\n":                                     "neither https nor http",
		"[host.\"https://a\"]\nca = 3":                             "neither a string",
		"[host.\"https://a\"]\nclient = [[\"a\",\"b\",\"c\"]]":     "pairs",
		"[host.\"https://a\"]\n[host.\"https://a\".header]\nx = 1": "neither a string",
		"server = 3": "hosts.toml",
	} {
		dir := t.TempDir()
		write(t, dir+"/docker.io/hosts.toml", text)
		_, err := Config{Dirs: []string{dir}}.For(named(t, "alpine"))
		if errdefs.KindOf(err) != errdefs.InvalidArgument || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestCertificates finds files of both kinds of directories.
func TestCertificates(t *testing.T) {
	docker, own := t.TempDir(), t.TempDir()
	write(t, docker+"/r.example:5000/ca.crt", "x")
	write(t, docker+"/r.example:5000/client.cert", "x")
	write(t, docker+"/r.example:5000/client.key", "x")
	write(t, own+"/r.example:5000/hosts.toml", "ca = \"own.pem\"\nskip_verify = true\nclient = [[\"c.pem\", \"/k.pem\"]]\n[host.\"https://m.example\"]\nca = [\"/a.pem\"]\nclient = \"both.pem\"\n")
	write(t, docker+"/m.example/m.crt", "x")
	list, err := Config{Dirs: []string{own, docker}}.For(named(t, "r.example:5000/app"))
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v, %v", list, err)
	}
	at := own + "/r.example:5000/"
	for i, want := range []TLS{
		{CA: []string{"/a.pem", docker + "/m.example/m.crt"}, Client: []Pair{{at + "both.pem", at + "both.pem"}}},
		{CA: []string{at + "own.pem", docker + "/r.example:5000/ca.crt"}, SkipVerify: true,
			Client: []Pair{{at + "c.pem", "/k.pem"}, {docker + "/r.example:5000/client.cert", docker + "/r.example:5000/client.key"}}},
	} {
		if !reflect.DeepEqual(list[i].TLS, want) {
			t.Errorf("%s: %+v\nwant %+v", list[i].Addr, list[i].TLS, want)
		}
	}
	if _, err := list[0].TLS.Config(); err == nil {
		t.Error("a file that is not there was read")
	}
	if _, err := (TLS{CA: []string{docker + "/r.example:5000/ca.crt"}}).Config(); errdefs.KindOf(err) != errdefs.InvalidArgument {
		t.Errorf("no PEM: %v", err)
	}
	write(t, docker+"/n.example/alone.cert", "x")
	if _, err := (Config{Dirs: []string{docker}}).For(named(t, "n.example/app")); err == nil || !strings.Contains(err.Error(), "its key") {
		t.Errorf("a certificate without a key: %v", err)
	}
}

func TestDefault(t *testing.T) {
	env := map[string]string{"BERTH_CERTS_D": "/a:/b", "BERTH_MIRRORS": "docker.io=m.example;ghcr.io=n.example"}
	c, err := Default(func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil || !reflect.DeepEqual(c.Dirs, []string{"/a", "/b"}) {
		t.Fatalf("%+v, %v", c, err)
	}
	if list, err := c.For(named(t, "ghcr.io/x")); err != nil || len(list) != 2 || list[0].Addr != "n.example" || list[0].From != "BERTH_MIRRORS" {
		t.Errorf("%+v, %v", list, err)
	}
}

func FuzzHostsToml(f *testing.F) {
	f.Add("server = \"https://docker.io\"\n[host.\"https://z.example/v2\"]\ncapabilities=[\"pull\"]\nca=[\"a\"]\nclient=[[\"a\",\"b\"]]\noverride_path=true\n[host.\"https://z.example/v2\".header]\nx=[\"1\"]\n")
	f.Add("[host.\"a\"]\n[host.\"b\"]\nclient = [[]]")
	name := named(f, "alpine")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseHosts(text, "/d/hosts.toml", name)
		if err != nil {
			return
		}
		for _, h := range list {
			if h.Addr == "" || h.Scheme != "" && h.Scheme != "http" && h.Scheme != "https" {
				t.Errorf("%+v", h)
			}
		}
	})
}

func FuzzMirrors(f *testing.F) {
	f.Add("docker.io = a.example https://b:5000/x\n# c")
	name := named(f, "alpine")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Config{Mirrors: text, Source: "fuzz"}.For(name)
		if err == nil && (len(list) == 0 || list[len(list)-1].Mirror()) {
			t.Errorf("%+v", list)
		}
	})
}
