package network

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostsFile(t *testing.T) {
	own := HostName{Addr: "172.17.0.2", Names: "web.example.org web"}
	gw := netip.MustParseAddr("172.17.0.1")
	for _, c := range []struct {
		own   HostName
		gw    netip.Addr
		extra []string
		want  string
	}{
		{own, gw, nil, "127.0.0.1\tlocalhost\n172.17.0.1\thost.docker.internal\n172.17.0.2\tweb.example.org web\n"},
		{own, gw, []string{"db:10.0.0.5", "gw:host-gateway", "six=[2001:db8::1]", "seven:2001:db8::7"},
			"127.0.0.1\tlocalhost\n10.0.0.5\tdb\n172.17.0.1\tgw\n2001:db8::1\tsix\n2001:db8::7\tseven\n172.17.0.1\thost.docker.internal\n172.17.0.2\tweb.example.org web\n"},
		{own, gw, []string{"host.docker.internal:10.0.0.9"}, "127.0.0.1\tlocalhost\n10.0.0.9\thost.docker.internal\n172.17.0.2\tweb.example.org web\n"},
		{HostName{}, netip.Addr{}, []string{"a:1.2.3.4"}, localhost4 + localhost6 + "1.2.3.4\ta\n"},
	} {
		got, err := HostsFile(c.own, c.gw, c.extra)
		if err != nil || string(got) != c.want {
			t.Errorf("extra %q: %v\n%s\nwant\n%s", c.extra, err, got, c.want)
		}
	}
	for _, bad := range []string{"a", ":1.2.3.4", "a:", "a:b", "a b:1.2.3.4", "a:1.2.3.4\nb", "a\n1.2.3.4 b:1.1.1.1", "a:host-gateway"} {
		if got, err := HostsFile(HostName{}, netip.Addr{}, []string{bad}); err == nil {
			t.Errorf("%q was taken:\n%s", bad, got)
		}
	}
}

func TestResolvConf(t *testing.T) {
	const host = "# comment\nnameserver 127.0.0.53\nnameserver 10.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\nsearch a.example b.example\noptions ndots:2 edns0\nsortlist 1.2.3.4\n"
	for _, c := range []struct {
		host                 string
		dns, search, options []string
		want                 string
	}{
		{host, nil, nil, nil, "nameserver 10.0.0.1\nsearch a.example b.example\noptions ndots:2 edns0\n"},
		{host, []string{"1.1.1.1", "127.0.0.1"}, nil, nil, "nameserver 1.1.1.1\nnameserver 127.0.0.1\nsearch a.example b.example\noptions ndots:2 edns0\n"},
		{host, nil, []string{"."}, []string{"timeout:1"}, "nameserver 10.0.0.1\noptions timeout:1\n"},
		{host, nil, []string{"c.example"}, nil, "nameserver 10.0.0.1\nsearch c.example\noptions ndots:2 edns0\n"},
		{"nameserver 127.0.0.1\ndomain d.example\n", nil, nil, nil, "search d.example\n"},
		{"", nil, nil, nil, ""},
	} {
		if got := string(ResolvConf([]byte(c.host), c.dns, c.search, c.options)); got != c.want {
			t.Errorf("dns %q search %q options %q:\n%s\nwant\n%s", c.dns, c.search, c.options, got, c.want)
		}
	}
}

func TestHostResolvConf(t *testing.T) {
	dir := t.TempDir()
	main, resolved := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "resolved.conf")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string) {
		t.Helper()
		if got, err := hostResolvConf(main, resolved); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	check("")
	write(main, "nameserver 127.0.0.53\n")
	check("nameserver 127.0.0.53\n")
	write(resolved, "nameserver 192.0.2.1\n")
	check("nameserver 192.0.2.1\n")
	write(main, "# not 127.0.0.53\nnameserver 10.0.0.1\n")
	check("# not 127.0.0.53\nnameserver 10.0.0.1\n")
	write(main, "nameserver 127.0.0.53\nnameserver 10.0.0.1\n")
	check("nameserver 127.0.0.53\nnameserver 10.0.0.1\n")
}

func FuzzHostsFile(f *testing.F) {
	for _, s := range []string{"a:1.2.3.4", "a=host-gateway", "x:[::1]", "a\n:1.2.3.4", "a\r:1.2.3.4"} {
		f.Add(s)
	}
	gw := netip.MustParseAddr("172.17.0.1")
	f.Fuzz(func(t *testing.T, extra string) {
		got, err := HostsFile(HostName{Addr: "172.17.0.2", Names: "c"}, gw, []string{extra})
		if err != nil {
			return
		}
		if n := strings.Count(string(got), "\n"); n != 4 && !strings.Contains(string(got), "\thost.docker.internal\n") {
			t.Errorf("%q made %d lines:\n%s", extra, n, got)
		}
		for line := range strings.Lines(string(got)) {
			if len(strings.Fields(line)) != 2 {
				t.Errorf("%q made the line %q", extra, line)
			}
		}
	})
}
