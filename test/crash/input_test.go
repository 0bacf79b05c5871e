package crash

import (
	"os"
	"strings"
	"testing"
)

// TestBadInput: each mistake has its exit code, one clear line and at most one hint.
func TestBadInput(t *testing.T) {
	l := newLab(t)
	l.must("create", "--name", "taken", "hello")
	in := func(argv ...string) []string {
		return append([]string{"run", "--rm", "--network", "none", "--rootfs", rootfs}, argv...)
	}
	with := func(flags ...string) []string {
		return append(append([]string{"run", "--rm", "--rootfs", rootfs}, flags...), "true")
	}
	for _, c := range []struct {
		args []string
		code int
		says string
		hint bool
	}{
		{[]string{"run", "--pull", "never", "nothing:1"}, 125, "no such image: nothing:1", true},
		{[]string{"run", "--nonsense", "hello"}, 125, "unknown flag: --nonsense", true},
		{[]string{"nonsense"}, 1, "nonsense", true},
		{[]string{"run", "UPPER"}, 125, "UPPER", false},
		{in("nothing"), 127, "executable file not found in $PATH", true},
		{in("/bin/nothing"), 127, "no such file or directory", true},
		{in("/etc"), 126, "/etc", false},
		{in("/etc/motd"), 126, "permission denied", false},
		{[]string{"run", "--name", "taken", "hello"}, 125, "already in use", false},
		{[]string{"run", "--name", "a b", "hello"}, 125, "Invalid container name", true},
		{with("--memory", "many"), 125, "many", false},
		{with("--memory", "1k"), 125, "memory", false},
		{with("--cpus", "x"), 125, "x", false},
		{with("--cpus", "-1"), 125, "-1", false},
		{with("-v", "relative:path:too:many"), 125, "relative", false},
		{with("-v", "/tmp:not-absolute"), 125, "not-absolute", false},
		{with("-p", "99999:80"), 125, "99999", false},
		{with("-p", "80:x"), 125, "x", false},
		{with("--network", "nowhere"), 125, "nowhere", false},
		{with("--user", "nobody-knows"), 125, "nobody-knows", false},
		{with("--restart", "sometimes"), 125, "sometimes", false},
		{with("--cap-add", "FLY"), 125, "FLY", false},
		{with("-w", "relative"), 125, "relative", false},
		{[]string{"run", "--rootfs", "/no/such/dir", "true"}, 125, "/no/such/dir", false},
		{[]string{"start", "missing"}, 1, "No such container: missing", false},
		{[]string{"stop", "missing"}, 1, "No such container: missing", false},
		{[]string{"rm", "missing"}, 1, "No such container: missing", false},
		{[]string{"exec", "taken", "true"}, 1, "is not running", false},
		{[]string{"logs", "missing"}, 1, "No such container: missing", false},
	} {
		r := l.berth(c.args...)
		check(t, strings.Join(c.args, " "), r, c.code, c.says, c.hint)
	}
	l.must("rm", "taken")
	l.settled()
}

// TestMalformedArchive: what is no archive is refused, and leaves nothing.
func TestMalformedArchive(t *testing.T) {
	l := newLab(t)
	garbage := t.TempDir() + "/garbage.tar"
	if err := os.WriteFile(garbage, []byte(strings.Repeat("no tar at all ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, "import", l.berth("import", garbage), 1, "cannot import archive", false)
	check(t, "load", l.berth("load", "-i", garbage), 1, "cannot load archive", false)
	check(t, "import of nothing", l.berth("import", garbage+"x"), 1, "no such file", false)
	if got := l.must("images", "-q"); strings.Count(got, "\n") != 0 {
		t.Errorf("images: %s", got)
	}
	l.settled()
}

func check(t *testing.T, what string, r result, code int, says string, hint bool) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(r.err, "\n"), "\n")
	hinted := len(lines) == 2 && strings.HasPrefix(lines[1], "hint: ")
	switch {
	case r.code != code:
		t.Errorf("%s: exit code %d, not %d: %s", what, r.code, code, r.err)
	case !strings.Contains(lines[0], says):
		t.Errorf("%s: does not say %q: %s", what, says, r.err)
	case len(lines) > 2 || len(lines) == 2 && !hinted:
		t.Errorf("%s: more than a line and a hint: %s", what, r.err)
	case hint && !hinted:
		t.Errorf("%s: no hint: %s", what, r.err)
	}
}

// TestNobody: a user without rights is told what is missing.
func TestNobody(t *testing.T) {
	l := newLab(t)
	l.must("create", "--name", "c1", "hello")
	for dir := l.state; dir != "/tmp" && dir != "/"; dir = dir[:strings.LastIndexByte(dir, '/')] {
		if dir != l.state {
			if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // so that only the engine's own directories refuse
				t.Fatal(err)
			}
		}
	}
	for _, args := range [][]string{{"run", "--rm", "--pull", "never", "hello"}, {"ps"}, {"rm", "-f", "c1"}} {
		cmd := l.command(args...)
		cmd.Args = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary}, args...)
		cmd.Path, cmd.Err = lookUp(t, "setpriv"), nil
		code := 1
		if args[0] == "run" {
			code = 125
		}
		check(t, "as nobody: "+args[0], l.run(cmd), code, "permission denied", true)
	}
	l.must("rm", "c1")
}
