package hello

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestMainShowsBothSides(t *testing.T) {
	mine, err := os.Readlink("/proc/self/ns/uts")
	if err != nil {
		t.Skip("no /proc")
	}
	facts, err := json.Marshal(Facts{ID: "abc", PID: 4711, Namespaces: map[string]string{"uts": mine, "pid": "pid:[1]"},
		Limits: [][2]string{{"2048 processes", "/sys/fs/cgroup/pids.max"}}, Layers: []string{"/upper", "/lower"}})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if code := Main(strings.NewReader(string(facts)+"\n"), &out); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"number 4711 on the host", "pid:[1]", mine + "  shared", "2048 processes", "writable   /upper", "read-only  /lower"} {
		if !strings.Contains(strings.ReplaceAll(out.String(), mine+"       ", mine+" "), want) && !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out.String())
		}
	}
}

func TestMainWithoutFacts(t *testing.T) {
	for _, in := range []string{"", "not json\n", "{}\n"} {
		var out strings.Builder
		if code := Main(strings.NewReader(in), &out); code != 0 || !strings.Contains(out.String(), "Hello from a container") {
			t.Errorf("%q: %d\n%s", in, code, out.String())
		}
	}
}
