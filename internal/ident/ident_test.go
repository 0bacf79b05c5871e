package ident

import (
	"errors"
	"testing"

	"berth/internal/errdefs"
)

func TestNewIsValidAndDistinct(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := New()
		if !Valid(id) || seen[id] {
			t.Fatalf("bad or repeated id %q", id)
		}
		seen[id] = true
	}
	if l := NewLink(); len(l) != 26 {
		t.Errorf("link %q has %d characters, want 26", l, len(l))
	}
}

func TestResolve(t *testing.T) {
	ids := []string{"abc1", "abc2", "def"}
	if id, err := Resolve("d", ids, "container"); err != nil || id != "def" {
		t.Errorf("got %q, %v", id, err)
	}
	if _, err := Resolve("abc", ids, "container"); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("ambiguous prefix: %v", err)
	}
	for _, bad := range []string{"", "f", "ABC1", "x"} {
		if _, err := Resolve(bad, ids, "container"); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
