package container

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"berth/internal/cli/output"
	"berth/internal/container"
	"berth/internal/engine"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestStatus(t *testing.T) {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		s    container.State
		want string
	}{
		{container.State{Status: container.Running, StartedAt: ago(2 * time.Second)}, "Up 2 seconds"},
		{container.State{Status: container.Paused, StartedAt: ago(5 * time.Minute)}, "Up 5 minutes (Paused)"},
		{container.State{Status: container.Exited, StartedAt: ago(time.Hour), FinishedAt: ago(3 * time.Minute)}, "Exited (0) 3 minutes ago"},
		{container.State{Status: container.Exited, ExitCode: 137, StartedAt: ago(time.Hour), FinishedAt: ago(0)}, "Exited (137) Less than a second ago"},
		{container.State{Status: container.Exited, StartedAt: ago(time.Hour)}, ""},
		{container.State{Status: container.Exited}, "Created"},
		{container.State{Status: container.Created}, "Created"},
		{container.State{Status: container.Restarting, ExitCode: 1, FinishedAt: ago(2 * time.Second)}, "Restarting (1) 2 seconds ago"},
		{container.State{Status: container.Removing}, "Removal In Progress"},
		{container.State{Status: container.Dead}, "Dead"},
	} {
		if got := Status(&c.s, now); got != c.want {
			t.Errorf("%s: got %q, want %q", c.s.Status, got, c.want)
		}
	}
}

func port(ip string, private, public uint16, proto string) container.Port {
	return container.Port{IP: ip, PrivatePort: private, PublicPort: public, Type: proto}
}

// The lines are those of Docker's client 28.2 for the same ports.
func TestPorts(t *testing.T) {
	for _, c := range []struct {
		ports []container.Port
		want  string
	}{
		{nil, ""},
		{[]container.Port{port("0.0.0.0", 80, 80, "tcp"), port("::", 80, 80, "tcp"), port("", 443, 0, "tcp")},
			"0.0.0.0:80->80/tcp, [::]:80->80/tcp, 443/tcp"},
		{[]container.Port{
			port("0.0.0.0", 8002, 8002, "tcp"), port("0.0.0.0", 8000, 8000, "tcp"), port("0.0.0.0", 8001, 8001, "tcp"),
			port("::", 8000, 8000, "tcp"), port("::", 8001, 8001, "tcp"), port("::", 8002, 8002, "tcp"),
			port("0.0.0.0", 53, 5353, "udp"), port("127.0.0.1", 90, 9090, "tcp"),
			port("", 100, 0, "tcp"), port("", 101, 0, "tcp"), port("", 103, 0, "tcp"),
		}, "100-101/tcp, 103/tcp, 0.0.0.0:8000-8002->8000-8002/tcp, [::]:8000-8002->8000-8002/tcp, 0.0.0.0:5353->53/udp, 127.0.0.1:9090->90/tcp"},
	} {
		if got := Ports(c.ports); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func psTestRows(trunc bool) []psRow {
	id := func(c string) string { return strings.Repeat(c, 64) }
	list := []engine.Summary{
		{State: container.State{
			ID: id("1"), Name: "n1", Image: "busybox:latest", ImageID: "sha256:" + id("a"), Command: "sh -c 'echo hello world; sleep 100'",
			Created: now.Add(-3700 * time.Second), Status: container.Running, StartedAt: now.Add(-2 * time.Second),
			Labels: map[string]string{"z": "2", "a.b-c": "1"}, NetworkMode: "bridge",
		}, SizeRw: -1, SizeRootFs: -1},
		{State: container.State{
			ID: id("3"), Name: "n3", Image: "sha256:" + id("a"), ImageID: "sha256:" + id("a"), Command: "true",
			Created: now.Add(-24 * time.Hour), Status: container.Created, MountNames: []string{"averyveryverylongvolume", "/srv/data"},
		}, SizeRw: 12, SizeRootFs: 4261550},
	}
	rows := make([]psRow, len(list))
	for i := range list {
		rows[i] = psRow{&list[i], now, trunc}
	}
	return rows
}

// The tables are Docker's for the same containers, blank by blank.
func TestPsFormats(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{"", `CONTAINER ID   IMAGE            COMMAND                  CREATED             STATUS         PORTS     NAMES
111111111111   busybox:latest   "sh -c 'echo hello w…"   About an hour ago   Up 2 seconds             n1
333333333333   aaaaaaaaaaaa     "true"                   24 hours ago        Created                  n3
`},
		{`table {{.ID}}\t{{upper .Names}}\t{{.Label "a.b-c"}}\t{{.Mounts}}\t{{.LocalVolumes}}`, `CONTAINER ID   NAMES     b c       MOUNTS                      LOCAL VOLUMES
111111111111   N1        1                                     0
333333333333   N3                  averyveryveryl…,/srv/data   1
`},
		{"{{.Names}} {{.State}} {{.Size}} {{.Labels}} {{.Networks}}", "n1 running 0B a.b-c=1,z=2 bridge\nn3 created 12B (virtual 4.26MB)  \n"},
		{`{{json .Names}} {{pad .ID 1 2}} {{truncate .ID 3}} {{title .State}} {{split .Image ":"}}`,
			"\"n1\"  111111111111   111 Running [busybox latest]\n\"n3\"  333333333333   333 Created [aaaaaaaaaaaa]\n"},
	} {
		var b bytes.Buffer
		if err := output.List(&b, output.Format(c.format), psColumns(), psHeadings(), psTestRows(true)); err != nil || b.String() != c.want {
			t.Errorf("%q: %v\n got %s\nwant %s", c.format, err, b.String(), c.want)
		}
	}
	var b bytes.Buffer
	if err := output.List(&b, "json", psColumns(), psHeadings(), psTestRows(false)[:1]); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`{"Command":"\"sh -c 'echo hello world; sleep 100'\"",`, `"ID":"` + strings.Repeat("1", 64) + `"`, `"RunningFor":"About an hour ago"`, `"Status":"Up 2 seconds"`} {
		if !strings.Contains(b.String(), field) {
			t.Errorf("JSON lacks %s: %s", field, b.String())
		}
	}
	for _, bad := range []output.Format{"{{.Foo}}", "{{.Foo}", "table {{.Names}}{{.Foo}}"} {
		if err := output.List(io.Discard, bad, psColumns(), psHeadings(), psTestRows(true)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestStatsFormats(t *testing.T) {
	list := []engine.Stats{{
		ID: strings.Repeat("1", 64), Name: "n1", CPUPercent: 150, MemoryUsage: 12345678, MemoryLimit: 8 << 30,
		NetRx: 1234567, NetTx: 999, BlockRead: 4096, BlockWrite: 1048576, PIDs: 3,
	}}
	const table = `CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O         BLOCK I/O        PIDS
111111111111   n1        150.00%   11.77MiB / 8GiB     0.14%     1.23MB / 999B   4.1kB / 1.05MB   3
`
	var b bytes.Buffer
	if err := printStats(&b, &statsOptions{}, list, false); err != nil || b.String() != table {
		t.Errorf("%v\n got %s\nwant %s", err, b.String(), table)
	}
	b.Reset()
	if err := printStats(&b, &statsOptions{}, list, true); err != nil || b.String() != home+strings.ReplaceAll(table, "\n", clearLine+"\n")+clearDown {
		t.Errorf("live: %v %q", err, b.String())
	}
	b.Reset()
	const row = `{"BlockIO":"4.1kB / 1.05MB","CPUPerc":"150.00%","Container":"111111111111","ID":"111111111111","MemPerc":"0.14%",` +
		`"MemUsage":"11.77MiB / 8GiB","Name":"n1","NetIO":"1.23MB / 999B","PIDs":"3"}` + "\n"
	if err := printStats(&b, &statsOptions{format: "json"}, list, false); err != nil || b.String() != row {
		t.Errorf("%v %s", err, b.String())
	}
}

func TestPortLines(t *testing.T) {
	ports := map[string][]container.PortBinding{
		"80/tcp": {{HostIP: "0.0.0.0", HostPort: "8080"}, {HostIP: "::", HostPort: "8080"}}, "53/udp": {{HostIP: "0.0.0.0", HostPort: "53"}}, "443/tcp": nil,
	}
	for args, want := range map[string]string{
		"c":        "53/udp -> 0.0.0.0:53\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n",
		"c 80":     "0.0.0.0:8080\n[::]:8080\n",
		"c 53/udp": "0.0.0.0:53\n",
	} {
		if got, err := portLines(ports, strings.Fields(args)); err != nil || got != want {
			t.Errorf("%s: got %q, %v", args, got, err)
		}
	}
	for _, port := range []string{"99", "443", "53"} {
		if _, err := portLines(ports, []string{"c", port}); err == nil || err.Error() != "no public port '"+port+"' published for c" {
			t.Errorf("%s: %v", port, err)
		}
	}
}

func TestLogPrinter(t *testing.T) {
	var out, errs bytes.Buffer
	p := newLogPrinter(&out, &errs, true, false)
	for _, l := range []engine.LogLine{
		{Time: now, Data: []byte("begun ")}, {Time: now, Data: []byte("and ended\n")}, {Time: now, Stderr: true, Data: []byte("bad\n")},
	} {
		if err := p.print("web | ", l); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "web | 2026-05-04T12:00:00.000000000Z begun and ended\n" {
		t.Errorf("stdout %q", got)
	}
	if got := errs.String(); got != "web | 2026-05-04T12:00:00.000000000Z bad\n" {
		t.Errorf("stderr %q", got)
	}
}

func BenchmarkPs(b *testing.B) {
	rows := psTestRows(true)
	for len(rows) < 250 {
		rows = append(rows, rows[:2]...)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := output.List(io.Discard, "", psColumns(), psHeadings(), rows); err != nil {
			b.Fatal(err)
		}
	}
}
