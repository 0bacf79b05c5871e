package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"berth/internal/cli/command"
	"berth/internal/cli/streams"
	"berth/internal/errdefs"
)

// berth runs a command line on buffers, with roots of its own.
func berth(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("BERTH_DATA_ROOT", t.TempDir())
	t.Setenv("BERTH_STATE_ROOT", t.TempDir())
	var out, errs bytes.Buffer
	code = Main(context.Background(), args, &streams.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	return code, out.String(), errs.String()
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args, stderr string
		code         int
	}{
		{"run --x a", "berth: unknown flag: --x\nhint: see 'berth run --help'\n", 125},
		{"run --memry 1 a", "berth: unknown flag: --memry\nhint: did you mean --memory? See 'berth run --help'\n", 125},
		{"ps -z", "berth: unknown shorthand flag: 'z' in -z\nhint: see 'berth ps --help'\n", 125},
		{"run", "berth: 'berth run' requires at least 1 argument\nhint: usage: berth run [OPTIONS] IMAGE [COMMAND] [ARG...] (more: berth run --help)\n", 1},
		{"exec a", "berth: 'berth exec' requires at least 2 arguments\nhint: usage: berth exec [OPTIONS] CONTAINER COMMAND [ARG...] (more: berth exec --help)\n", 1},
		{"ps foo", "berth: 'berth ps' accepts no arguments\nhint: usage: berth ps [OPTIONS] (more: berth ps --help)\n", 1},
		{"container foo", "berth: unknown command: berth container foo\nhint: see 'berth container --help'\n", 1},
		{"rum", "berth: unknown command: berth rum\nhint: did you mean 'berth run'?\n", 1},
		{"imgaes", "berth: unknown command: berth imgaes\nhint: did you mean 'berth images'?\n", 1},
		{"image lss", "berth: unknown command: berth image lss\nhint: did you mean 'berth image ls'?\n", 1},
		{"contaner ls", "berth: unknown command: berth contaner\nhint: did you mean 'berth container'?\n", 1},
		{"swarm init", "berth: unknown command: berth swarm\nhint: berth has no Swarm and no plugins\n", 1},
		{"--foo ps", "berth: unknown flag: --foo\nhint: see 'berth --help'\n", 125},
		{"run --gpus all a", "berth: --gpus: berth cannot hand out GPUs; give the device files with --device\nhint: see 'berth run --help'\n", 125},
		{"run --memory x b", "berth: invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'\nhint: see 'berth run --help'\n", 125},
		{"run --cpus x b", "berth: invalid argument \"x\" for \"--cpus\" flag: failed to parse x as a rational number\nhint: see 'berth run --help'\n", 125},
		{"run --rm --restart always b", "berth: conflicting options: cannot specify both --restart and --rm\n", 125},
		{"create --pull foo b", "berth: invalid pull option: 'foo': must be one of \"always\", \"missing\" or \"never\"\n", 125},
		{"run -d -a stdout b", "berth: conflicting options: cannot specify both --attach and --detach\nhint: see 'berth run --help'\n", 1},
		{"run -it b", "berth: the input device is not a TTY\nhint: leave out -t when the input is a pipe or a file\n", 1},
		{"exec -it a b", "berth: the input device is not a TTY\nhint: leave out -t when the input is a pipe or a file\n", 1},
		{"inspect --type foo a", "berth: unknown type: \"foo\": must be one of \"container\", \"image\", \"volume\"\n", 1},
		{"stop -t 1 --time 3 a", "berth: conflicting options: cannot specify both --timeout and --time\nhint: see 'berth stop --help'\n", 1},
		{"--log-level loud ps", "berth: unable to parse logging level: loud\nhint: see 'berth --help'\n", 125},
		{"completion", "berth: name a shell: bash, zsh or fish\nhint: for bash: source <(berth completion bash)\n", 1},
	} {
		t.Run(c.args, func(t *testing.T) {
			code, stdout, stderr := berth(t, strings.Fields(c.args)...)
			if code != c.code || stderr != c.stderr || stdout != "" {
				t.Errorf("exit %d, want %d; stdout %q\n got %s\nwant %s", code, c.code, stdout, stderr, c.stderr)
			}
		})
	}
}

func TestPastedDash(t *testing.T) {
	for _, c := range []struct{ args, note, then string }{
		{"run –pid foo b", `read "–pid", which begins with a dash that is not a hyphen, as "--pid"`, "--pid: invalid PID mode"},
		{"run --rm —pid=foo b", `read "—pid=foo", which begins with a dash that is not a hyphen, as "--pid=foo"`, "--pid: invalid PID mode"},
		{"run –it b", `as "-it"`, "not a TTY"},
		{"run –x b", `as "-x"`, "unknown shorthand flag: 'x'"},
		{"logs web –tail x", `as "--tail"`, `--tail: "x" is neither`},
	} {
		_, _, stderr := berth(t, strings.Fields(c.args)...)
		if !strings.Contains(stderr, c.note) || !strings.Contains(stderr, c.then) {
			t.Errorf("%s: got %s", c.args, stderr)
		}
	}
	// Behind the image, and behind "--", a word is the program's own.
	for _, args := range []string{"run --pid foo b –pid", "run --pid foo -- –pid host"} {
		if _, _, stderr := berth(t, strings.Fields(args)...); strings.Contains(stderr, "hyphen") {
			t.Errorf("%s: got %s", args, stderr)
		}
	}
}

func TestExitCode(t *testing.T) {
	wrapped := func(k errdefs.Kind) error { return fmt.Errorf("x: %w", errdefs.New(k, "y")) }
	for _, c := range []struct {
		verb string
		err  error
		want int
	}{
		{"run", nil, 0},
		{"run", command.ExitError{Code: 42}, 42},
		{"exec", fmt.Errorf("x: %w", command.ExitError{Code: 3}), 3},
		{"run", errors.New("x"), 125},
		{"run", wrapped(errdefs.NotFound), 125},
		{"run", wrapped(errdefs.NotExecutable), 126},
		{"run", wrapped(errdefs.NoCommand), 127},
		{"exec", wrapped(errdefs.NotExecutable), 126},
		{"exec", wrapped(errdefs.NoCommand), 127},
		{"exec", wrapped(errdefs.NotFound), 1},
		{"start", wrapped(errdefs.NoCommand), 1},
		{"create", errors.New("x"), 1},
		{"create", command.Refuse("x"), 125},
		{"ps", wrapped(errdefs.Internal), 1},
		{"ps", &command.UsageError{Err: errors.New("x"), Flags: true}, 125},
		{"run", &command.UsageError{Err: errors.New("x")}, 1},
	} {
		if got := exitCode(c.verb, c.err); got != c.want {
			t.Errorf("%s %v: exit code %d, want %d", c.verb, c.err, got, c.want)
		}
	}
}

func TestVerbOf(t *testing.T) {
	for args, want := range map[string]string{"run x": "run", "container run x": "run", "image ls": "image"} {
		if got := verbOf(strings.Fields(args)); got != want {
			t.Errorf("%s: got %q, want %q", args, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"run", "rm", "ps", "restart", "rename", "images", "inspect"}
	for typed, want := range map[string]string{
		"rnu": "run", "rum": "run", "restrat": "restart", "image": "images", "insepct": "inspect", "foo": "", "kubectl": "",
	} {
		if got := nearest(typed, names); got != want {
			t.Errorf("nearest to %q: got %q, want %q", typed, got, want)
		}
	}
}

// Every command has help in the form of the style guide, and none defines a
// flag twice (pflag panics then).
func TestEveryCommandHasHelp(t *testing.T) {
	var paths [][]string
	for _, v := range topVerbs() {
		paths = append(paths, []string{v.name})
	}
	for _, n := range nouns() {
		for _, v := range n.verbs {
			paths = append(paths, []string{n.name, v.name})
			for _, other := range v.names {
				paths = append(paths, []string{n.name, other})
			}
		}
	}
	for _, p := range paths {
		switch p[len(p)-1] {
		case "pull", "load", "import", "build", "push", "save", "login", "logout":
			continue // the sibling's help
		}
		if p[0] == "builder" || p[0] == "registry" {
			continue // as above
		}
		code, out, stderr := berth(t, append(p, "--help")...)
		if code != 0 || !strings.HasPrefix(out, "Usage: berth ") || !strings.Contains(out, "\nExamples:\n  berth ") || stderr != "" {
			t.Errorf("%v --help: exit %d\n%s%s", p, code, out, stderr)
		}
	}
}

func TestRootHelpAndNouns(t *testing.T) {
	for _, args := range []string{"", "help", "--help", "-h"} {
		code, out, _ := berth(t, strings.Fields(args)...)
		if code != 0 || !strings.Contains(out, "\n  run        Make a container from an image and run it\n") || !strings.Contains(out, "--data-root string") {
			t.Errorf("berth %s: exit %d\n%s", args, code, out)
		}
	}
	if code, out, _ := berth(t, "buildx"); code != 0 || !strings.Contains(out, "Usage: berth builder COMMAND") {
		t.Errorf("the other name of a noun: exit %d\n%s", code, out)
	}
	for _, args := range []string{"volume", "volume --help", "help volume"} {
		code, out, _ := berth(t, strings.Fields(args)...)
		if code != 0 || !strings.Contains(out, "Usage: berth volume COMMAND") || !strings.Contains(out, "\n  prune ") {
			t.Errorf("berth %s: exit %d\n%s", args, code, out)
		}
	}
}

func TestVersion(t *testing.T) {
	_, plain, _ := berth(t, "version")
	_, built, _ := berth(t, "--debug", "version")
	if plain != built || !strings.Contains(plain, " Version:           0.") {
		t.Errorf("the short way differs:\n%s%s", plain, built)
	}
	if _, out, _ := berth(t, "version", "--format", "{{.Server.Os}} {{.Client.Version}}"); !strings.HasPrefix(out, "linux 0.") {
		t.Errorf("template: %q", out)
	}
	if code, out, _ := berth(t, "--version"); code != 0 || !strings.HasPrefix(out, "berth version 0.") {
		t.Errorf("--version: %q", out)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if code, out, _ := berth(t, "completion", shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("%s: exit %d, %d bytes", shell, code, len(out))
		}
	}
	_, out, _ := berth(t, "__complete", "container", "re")
	if !strings.HasPrefix(out, "rename\t") || !strings.Contains(out, "restart\t") {
		t.Errorf("container re: %q", out)
	}
	if _, out, _ := berth(t, "__complete", "run", "--rest"); !strings.HasPrefix(out, "--restart\t") {
		t.Errorf("run --rest: %q", out)
	}
}
