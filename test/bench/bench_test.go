package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}, {[]float64{7}, 7}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestParseUsage(t *testing.T) {
	got, err := parseUsage("usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n")
	if err != nil || got != 1500*time.Microsecond {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseUsage("user_usec 1000\n"); err == nil {
		t.Error("a cpu.stat without usage_usec is accepted")
	}
}

func TestParsePrivate(t *testing.T) {
	rollup := "5600-7ffd ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss: 500 kB\nShared_Clean: 300 kB\nPrivate_Clean:  40 kB\nPrivate_Dirty:  560 kB\nReferenced: 900 kB\n"
	if got := parsePrivate(rollup); got != 600 {
		t.Errorf("got %v KiB, want 600", got)
	}
}

func TestParseCounts(t *testing.T) {
	report := `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           6       100         3 openat
 30.00    0.000300          75         4           fsync
 10.00    0.000100         100         1           syncfs
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           9       105         3 total
`
	f, err := parseCounts(report)
	if err != nil || f[calls] != 105 || f[syncs] != 5 {
		t.Errorf("got %v, %v", f, err)
	}
	if _, err := parseCounts("strace: cannot run\n"); err == nil {
		t.Error("a report without calls is accepted")
	}
}

func TestBars(t *testing.T) {
	results := []result{
		{name: "floor", figures: figures{cpu: 4}},
		{name: "crun", figures: figures{wall: 20, cpu: 10}},
		{name: "docker", rival: true, figures: figures{wall: 300, cpu: 180, rate: 2}},
		{name: "podman", rival: true, figures: figures{wall: 150, cpu: 150, rate: 3}},
		{name: "berth", figures: figures{wall: 20, cpu: 12, rate: 20, memory: 1025}},
	}
	for _, c := range []struct {
		bar  bar
		want string
	}{
		{bar{of: wall, against: "crun", limit: 1}, "held"},
		{bar{of: cpu, against: "floor", limit: 3}, "held"},
		{bar{of: cpu, against: "floor", limit: 2.9}, "missed"},
		{bar{of: cpu, against: "docker", limit: 1. / 15}, "held"},
		{bar{of: wall, against: rivals, limit: 1. / 8}, "missed"},
		{bar{of: rate, against: "docker", limit: 10, atLeast: true}, "held"},
		{bar{of: rate, against: "podman", limit: 10, atLeast: true}, "missed"},
		{bar{of: memory, limit: 1024}, "missed"},
		{bar{of: wall, against: "runc", limit: 1}, "not compared"},
	} {
		var tab table
		tab.add(row{name: "r", bars: []bar{c.bar}}, results)
		if got := tab.lines[0][5]; got != c.want {
			t.Errorf("%v: %s, want %s (%v)", c.bar, got, c.want, tab.lines[0])
		}
	}
}

// A berth that could not do the work has missed every bar of the row.
func TestBarsWithoutBerth(t *testing.T) {
	var tab table
	tab.add(row{name: "r", bars: []bar{{of: cpu, against: "floor", limit: 3}, {of: memory, limit: 1}}}, []result{{name: "floor", figures: figures{cpu: 4}}})
	for _, line := range tab.lines {
		if line[5] != "missed" {
			t.Errorf("%v is not missed", line)
		}
	}
}

func TestEveryBarIsInTheTable(t *testing.T) {
	var names []string
	for _, s := range scenes() {
		for _, r := range s.choose([]string{""}) {
			if len(r.bars) == 0 {
				t.Errorf("%s has no bar", r.name)
			}
			names = append(names, r.name)
		}
	}
	all := strings.Join(names, "\n")
	for _, want := range []string{"run --rm --network none", "default bridge", "exec", "one after another", "8 at a time", "idle", "version", "ps -a", "stats", "commit"} {
		if !strings.Contains(all, want) {
			t.Errorf("no row about %q", want)
		}
	}
}

func TestModuleCache(t *testing.T) {
	asked := 0
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if strings.HasSuffix(r.URL.Path, "/gone") {
			w.WriteHeader(http.StatusGone)
			return
		}
		fmt.Fprint(w, r.URL.EscapedPath())
	}))
	defer upstream.Close()
	c := &moduleCache{upstream: upstream.URL, kept: map[string][]byte{}}
	get := func(path string) (int, string) {
		w := httptest.NewRecorder()
		c.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code, w.Body.String()
	}
	for range 2 {
		if code, text := get("/example.com/!upper/@v/v1.0.0%2Bx.mod"); code != 200 || text != "/example.com/!upper/@v/v1.0.0%2Bx.mod" {
			t.Errorf("got %d %q", code, text)
		}
	}
	if asked != 1 {
		t.Errorf("the proxy was asked %d times for one file", asked)
	}
	if code, _ := get("/gone"); code != http.StatusGone {
		t.Errorf("a module that is gone answers %d: go would not look further", code)
	}
}
