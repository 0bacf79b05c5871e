package flagvalue

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"berth/internal/container"
)

// Every type of this package is a flag's value.
var _ = []pflag.Value{
	&List{}, &Map{}, new(Filters), new(Bytes), new(SwapBytes), new(NanoCPUs), new(Ulimits), new(WeightDevices),
	&RateDevices{}, new(Mounts),
}

// checkSet sets each key and wants the error whose text is the value ("" : none).
func checkSet(t *testing.T, set func(string) error, want map[string]string) {
	t.Helper()
	for in, text := range want {
		err := set(in)
		switch {
		case text == "" && err != nil:
			t.Errorf("%q: %v", in, err)
		case text != "" && (err == nil || err.Error() != text):
			t.Errorf("%q: got error %v, want %s", in, err, text)
		}
	}
}

func check(f func(string) (string, error)) func(string) error {
	return func(s string) error { _, err := f(s); return err }
}

func TestErrorTexts(t *testing.T) {
	checkSet(t, new(Ulimits).Set, map[string]string{
		"nofile=1024:2048": "", "core=-1": "", "core=0:-1": "",
		"foo":          "invalid ulimit argument: foo",
		"foo=1:2":      "invalid ulimit type: foo",
		"nofile=x":     `strconv.ParseInt: parsing "x": invalid syntax`,
		"nofile=10:5":  "ulimit soft limit must be less than or equal to hard limit: 10 > 5",
		"nofile=-1:5":  "ulimit soft limit must be less than or equal to hard limit: unlimited > 5",
		"nofile=1:2:3": "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`",
	})
	checkSet(t, new(WeightDevices).Set, map[string]string{
		"/dev/sda:500": "", "x": "bad format: x", "/dev/sda:5": "invalid weight for device: /dev/sda:5",
		"sda:500": "bad format for device path: sda:500",
	})
	checkSet(t, (&RateDevices{IOPS: true}).Set, map[string]string{
		"/dev/sda:500": "",
		"/dev/sda:x":   "invalid rate for device: /dev/sda:x. The correct format is <device-path>:<number>. Number must be a positive integer",
	})
	checkSet(t, (&RateDevices{}).Set, map[string]string{
		"/dev/sda:1mb": "",
		"/dev/sda:x": "invalid rate for device: /dev/sda:x. The correct format is <device-path>:<number>[<unit>]. " +
			"Number must be a positive integer. Unit is optional and can be kb, mb, or gb",
	})
	checkSet(t, new(NanoCPUs).Set, map[string]string{
		"1.5": "", "2": "", ".5": "", "3/2": "", "x": "failed to parse x as a rational number", "": "failed to parse  as a rational number",
		"0.0000000001": "value is too precise", "1/3": "value is too precise", "1/0": "failed to parse 1/0 as a rational number",
		"-1": "failed to parse -1 as a rational number",
	})
	checkSet(t, new(Filters).Set, map[string]string{"a=b": "", "foo": "bad format of filter (expected name=value)"})
	checkSet(t, check(Label), map[string]string{"a=b": "", "a": "", "=x": "invalid label '=x': empty name"})
	checkSet(t, check(Sysctl), map[string]string{
		"net.ipv4.ip_forward=1": "", "kernel.sem=1": "", "fs.mqueue.msg_max=5": "",
		"foo": "sysctl 'foo' is not allowed", "kernel.panic=1": "sysctl 'kernel.panic=1' is not allowed",
	})
	checkSet(t, check(Stream), map[string]string{"STDIN": "", "stdout": "", "foo": "valid streams are STDIN, STDOUT and STDERR"})
	checkSet(t, check(IP), map[string]string{"1.1.1.1": "", "::1": "", "foo": "IP address is not correctly formatted: foo"})
	checkSet(t, check(ExtraHost), map[string]string{
		"a:1.2.3.4": "", "a=1.2.3.4": "", "a:[::1]": "", "a:::1": "", "a:host-gateway": "",
		"foo": `bad format for add-host: "foo"`, "a:foo": `invalid IP address in add-host: "foo"`,
	})
	checkSet(t, check(SearchDomain), map[string]string{
		"example.com": "", ".": "", "a-b.c.": "", "x..y": "x..y is not a valid domain", "-a": "-a is not a valid domain", "1.2": "1.2 is not a valid domain",
	})
	checkSet(t, check(DeviceRule), map[string]string{
		"c 1:3 mr": "", "b *:* rwm": "", "a": "invalid device cgroup format 'a'", "c 1:3 x": "invalid device cgroup format 'c 1:3 x'",
	})
}

func TestNanoCPUs(t *testing.T) {
	for in, want := range map[string]NanoCPUs{"1.5": 1500000000, "0.1": 100000000, "3/2": 1500000000, "0.000000001": 1, "2": 2000000000} {
		var c NanoCPUs
		if err := c.Set(in); err != nil || c != want {
			t.Errorf("%s: got %d, %v", in, c, err)
		}
	}
}

func TestParseMount(t *testing.T) {
	for in, want := range map[string]container.Mount{
		"type=bind,source=/a,target=/b,readonly":          {Type: "bind", Source: "/a", Target: "/b", ReadOnly: true},
		"type=bind,src=/a,dst=/b,ro=false":                {Type: "bind", Source: "/a", Target: "/b"},
		"target=/b":                                       {Type: "volume", Target: "/b"},
		"source=v,destination=/b,volume-nocopy":           {Type: "volume", Source: "v", Target: "/b", NoCopy: true},
		`type=bind,"source=/a,b",target=/c`:               {Type: "bind", Source: "/a,b", Target: "/c"},
		"type=bind,src=/a,dst=/b,bind-recursive=disabled": {Type: "bind", Source: "/a", Target: "/b", NonRecursive: true},
		"type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777": {Type: "tmpfs", Target: "/t", TmpfsSize: 1 << 20, TmpfsMode: 0o1777},
		"TYPE=bind,src=/a,dst=/b,bind-propagation=rslave": {Type: "bind", Source: "/a", Target: "/b", Propagation: "rslave"},
	} {
		if got, err := ParseMount(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
	checkSet(t, new(Mounts).Set, map[string]string{
		"type=foo":                              "target is required",
		"type=bind,foo=bar":                     "unexpected key 'foo' in 'foo=bar'",
		"type=bind":                             "target is required",
		"target=/x,source":                      "invalid field 'source' must be a key=value pair",
		"type=bind,target=/x":                   "source is required for mount type 'bind'",
		"type=tmpfs,target=/x,source=/y":        "source is not allowed for mount type 'tmpfs'",
		"type=bind,src=/a,dst=/b,volume-nocopy": "cannot mix 'volume-*' options with mount type 'bind'",
		"target=x":                              "invalid mount path: 'x' mount path must be absolute",
		"type=npipe,target=/x":                  "mount type 'npipe' is not supported: use bind, volume or tmpfs",
	})
}

func TestParseVolume(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string][2]string{
		"/a:/b": {"/a:/b", ""}, "/a:/b:ro,z": {"/a:/b:ro,z", ""}, "data:/b": {"data:/b", ""}, "/b": {"", "/b"},
		"./x:/b": {filepath.Join(wd, "x") + ":/b", ""}, ".:/b:rslave": {wd + ":/b:rslave", ""},
	} {
		bind, anonymous, err := ParseVolume(in)
		if err != nil || [2]string{bind, anonymous} != want {
			t.Errorf("%s: got %q, %q, %v", in, bind, anonymous, err)
		}
	}
	checkSet(t, func(s string) error { _, _, err := ParseVolume(s); return err }, map[string]string{
		"/a:/b:zz":    "invalid volume specification: '/a:/b:zz': invalid mode: zz",
		"/a:/b:ro,rw": "invalid volume specification: '/a:/b:ro,rw': invalid mode: ro,rw",
		"a:b":         "invalid volume specification: 'a:b': invalid mount path: 'b' mount path must be absolute",
		"/a:/":        "invalid volume specification: '/a:/': destination can't be '/'",
		"/a::ro":      "invalid volume specification: '/a::ro': empty section between colons",
		"a:b:c:d":     "invalid volume specification: 'a:b:c:d'",
	})
	if _, _, err := ParseVolume("a/b:/c"); err == nil || !strings.Contains(err.Error(), "use absolute path") {
		t.Errorf("a relative path: %v", err)
	}
}

func TestParseDevice(t *testing.T) {
	for in, want := range map[string]container.Device{
		"/dev/x":          {PathOnHost: "/dev/x", PathInContainer: "/dev/x", CgroupPermissions: "rwm"},
		"/dev/x:r":        {PathOnHost: "/dev/x", PathInContainer: "/dev/x", CgroupPermissions: "r"},
		"/dev/x:/dev/y":   {PathOnHost: "/dev/x", PathInContainer: "/dev/y", CgroupPermissions: "rwm"},
		"/dev/x:/dev/y:m": {PathOnHost: "/dev/x", PathInContainer: "/dev/y", CgroupPermissions: "m"},
	} {
		if got, err := ParseDevice(in); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
	checkSet(t, check(Device), map[string]string{
		":": "bad format for path: :", "x": "x is not an absolute path", "/a:/b:rr": "bad mode specified: rr",
		"/a:b": "b is not an absolute path", "/a:/b:rw:x": "invalid device specification: /a:/b:rw:x",
	})
}

func TestParseEnvFile(t *testing.T) {
	lookup := func(name string) (string, bool) { return "client", name == "HAVE" }
	got, err := ParseEnvFile([]byte("\uFEFFA=1\n# c\n\n  B= x y \nHAVE\nNONE\nQ=\"q\"\nE=\r\n"), lookup)
	want := []string{"A=1", "B= x y ", "HAVE=client", `Q="q"`, "E="}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := ParseEnvFile([]byte("a\nb=c"), nil); err != nil || !reflect.DeepEqual(got, []string{"a", "b=c"}) {
		t.Errorf("labels: got %q, %v", got, err)
	}
	checkSet(t, func(s string) error { _, err := ParseEnvFile([]byte(s), lookup); return err }, map[string]string{
		"=x": "no variable name on line '=x'", "a b=c": "variable 'a b' contains whitespaces", "A=1\n\xff": `invalid utf8 bytes at line 2: "\xff"`,
	})
	if _, err := ReadEnvFiles([]string{"/nope"}, lookup); err == nil || err.Error() != "open /nope: no such file or directory" {
		t.Errorf("missing file: %v", err)
	}
}

func TestParsePorts(t *testing.T) {
	type b = container.PortBinding
	for in, want := range map[string][]PortSpec{
		"80":                  {{"80/tcp", b{}}},
		"8080:80":             {{"80/tcp", b{HostPort: "8080"}}},
		"127.0.0.1:53:53/udp": {{"53/udp", b{HostIP: "127.0.0.1", HostPort: "53"}}},
		"127.0.0.1::80":       {{"80/tcp", b{HostIP: "127.0.0.1"}}},
		"[::1]:8080:80":       {{"80/tcp", b{HostIP: "::1", HostPort: "8080"}}},
		"::1:8080:80":         {{"80/tcp", b{HostIP: "::1", HostPort: "8080"}}},
		"8000-8001:80-81":     {{"80/tcp", b{HostPort: "8000"}}, {"81/tcp", b{HostPort: "8001"}}},
		"8000-8009:80":        {{"80/tcp", b{HostPort: "8000-8009"}}},
	} {
		if got, err := ParsePorts(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", in, got, err)
		}
	}
	checkSet(t, func(s string) error { _, err := ParsePorts(s); return err }, map[string]string{
		"x": "invalid containerPort: x", "99999:80": "invalid hostPort: 99999", "foo:1:2": "invalid IP address: foo",
		"1:2/icmp": "invalid proto: icmp", "1-3:5-6": "invalid ranges specified for container and host Ports: 5-6 and 1-3",
		"8080:": "no port specified: 8080:<empty>",
	})
}

func FuzzParsers(f *testing.F) {
	for _, s := range []string{"type=bind,source=/a,target=/b", "/a:/b:ro", "nofile=1:2", "/dev/x:/y:rw", "127.0.0.1:8000-8001:80-81/udp", "A=b\nC"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMount(s); err == nil && !filepath.IsAbs(m.Target) {
			t.Errorf("mount %q: target %q", s, m.Target)
		}
		if bind, anonymous, err := ParseVolume(s); err == nil && (bind == "") == (anonymous == "") {
			t.Errorf("volume %q: %q and %q", s, bind, anonymous)
		}
		if u, err := ParseUlimit(s); err == nil && u.Hard != -1 && (u.Soft == -1 || u.Soft > u.Hard) {
			t.Errorf("ulimit %q: %+v", s, u)
		}
		if d, err := ParseDevice(s); err == nil && (!filepath.IsAbs(d.PathOnHost) || !validPermissions(d.CgroupPermissions)) {
			t.Errorf("device %q: %+v", s, d)
		}
		if p, err := ParsePorts(s); err == nil && len(p) == 0 {
			t.Errorf("ports %q: none", s)
		}
		var c NanoCPUs
		if err := c.Set(s); err == nil && c < 0 {
			t.Errorf("cpus %q: %d", s, c)
		}
	})
}

func FuzzParseEnvFile(f *testing.F) {
	f.Add([]byte("A=1\n#c\nB\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := ParseEnvFile(b, func(string) (string, bool) { return "x", true })
		for _, e := range env {
			if name, _, ok := strings.Cut(e, "="); err == nil && (!ok || name == "") {
				t.Errorf("%q: variable %q", b, e)
			}
		}
	})
}
