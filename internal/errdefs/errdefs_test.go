package errdefs

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{&Error{Op: "open", Subject: "x", Err: fs.ErrNotExist}, "cannot open x: file does not exist"},
		{&Error{Op: "open", Err: fs.ErrNotExist}, "cannot open: file does not exist"},
		{&Error{Kind: NotFound, Subject: "image x"}, "image x: not found"},
		{New(Conflict, "name %q is taken", "a"), `name "a" is taken`},
		{&Error{Kind: Exhausted}, "exhausted"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestKindAndHintSurviveWrapping(t *testing.T) {
	base := New(NotFound, "no such image").WithHint("pull it first")
	err := fmt.Errorf("layer: %w", Wrap(base, "run", "web"))
	if !errors.Is(err, NotFound) || errors.Is(err, Conflict) {
		t.Errorf("kind lost: %v", err)
	}
	if KindOf(err) != NotFound || HintOf(err) != "pull it first" {
		t.Errorf("KindOf %v, HintOf %q", KindOf(err), HintOf(err))
	}
	if KindOf(errors.New("x")) != Internal || KindOf(nil) != Internal || HintOf(nil) != "" {
		t.Error("plain errors must be Internal without a hint")
	}
	if Wrap(nil, "a", "b") != nil {
		t.Error("Wrap(nil) must be nil")
	}
}
