package command

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/internal/cli/streams"
	"berth/internal/errdefs"
)

func testEnv(in string) (env *Env, out, errs *bytes.Buffer) {
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return New(&streams.Streams{In: strings.NewReader(in), Out: out, Err: errs}), out, errs
}

// Results stand in the order of the arguments, whichever is ready first.
func TestEach(t *testing.T) {
	env, out, errs := testEnv("")
	err := Each(env, []string{"slow", "bad", "fast"}, func(ref string) (string, error) {
		switch ref {
		case "slow":
			time.Sleep(20 * time.Millisecond)
		case "bad":
			return "", errdefs.New(errdefs.NotFound, "no such container: bad").WithHint("look at 'berth ps -a'")
		}
		return ref, nil
	})
	if err != error(ExitError{1}) || out.String() != "slow\nfast\n" ||
		errs.String() != "berth: no such container: bad\nhint: look at 'berth ps -a'\n" {
		t.Errorf("%v, stdout %q, stderr %q", err, out, errs)
	}
	if err := Each(env, []string{"a"}, func(string) (string, error) { return "", nil }); err != nil {
		t.Errorf("all well: %v", err)
	}
}

func TestConfirm(t *testing.T) {
	for in, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "": false, "yep\n": false} {
		env, out, _ := testEnv(in)
		if got := Confirm(env, "All goes."); got != want || out.String() != "WARNING! All goes.\nAre you sure you want to continue? [y/N] " {
			t.Errorf("%q: %v, %q", in, got, out)
		}
	}
}

func TestInspect(t *testing.T) {
	type object struct{ Name, Path string }
	find := func(ref string) (any, error) {
		if ref == "none" {
			return nil, errors.New("no such object: none")
		}
		return object{ref, "<a&b>"}, nil
	}
	for _, c := range []struct{ format, refs, out, errs string }{
		{"", "a", "[\n    {\n        \"Name\": \"a\",\n        \"Path\": \"<a&b>\"\n    }\n]\n", ""},
		{"json", "a", `[{"Name":"a","Path":"<a&b>"}]` + "\n", ""},
		{"{{.Name}}", "a b", "a\nb\n", ""},
		{"{{json .Path}}", "a", "\"<a&b>\"\n", ""},
		{"", "none", "[]\n", "berth: no such object: none\n"},
		{"{{.Name}}", "none a", "a\n", "berth: no such object: none\n"},
	} {
		env, out, errs := testEnv("")
		err := Inspect(env, c.format, strings.Fields(c.refs), find)
		if out.String() != c.out || errs.String() != c.errs || (err != nil) != (c.errs != "") {
			t.Errorf("%q %s: %v\n got %s%s", c.format, c.refs, err, out, errs)
		}
	}
	env, _, _ := testEnv("")
	if err := Inspect(env, "{{.Foo}}", []string{"a"}, find); err == nil {
		t.Error("an unknown field must be an error")
	}
}

func TestRoots(t *testing.T) {
	t.Setenv("BERTH_DATA_ROOT", "/d")
	t.Setenv("BERTH_STATE_ROOT", "/s")
	if env, _, _ := testEnv(""); env.DataRoot != "/d" || env.StateRoot != "/s" {
		t.Errorf("from the environment: %s %s", env.DataRoot, env.StateRoot)
	}
}
