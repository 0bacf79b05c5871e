package cache

import (
	"errors"
	"os"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/oci"
)

func TestState(t *testing.T) {
	w := newWorld(t)
	base := w.step("base", "", 1)
	failed := Record{Key: NewKey("state").Sum(), Type: State, Layer: base.Layer, Below: base.Layer, Created: time.Now(), Text: "RUN x", Config: &oci.RunConfig{Env: []string{"A=b"}}}
	must(t, w.c.Put(t.Context(), w.lease, failed, nil))
	must(t, w.c.Put(t.Context(), w.lease, Record{Key: NewKey("nothing").Sum(), Type: Regular, Created: time.Now()}, nil))
	for _, id := range []string{failed.Key.Hex(), failed.Key.Hex()[:12]} {
		r, err := w.c.State(id)
		if err != nil || r.Layer != base.Layer || r.Config.Env[0] != "A=b" {
			t.Errorf("%s: %+v, %v", id, r, err)
		}
	}
	if r, err := w.c.State(base.Key.Hex()[:12]); err != nil || r.Config != nil {
		t.Errorf("%+v, %v", r, err)
	}
	for _, id := range []string{"", "zz", NewKey("nothing").Sum().Hex(), NewKey("other").Sum().Hex()} {
		if r, err := w.c.State(id); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("%q: %+v, %v", id, r, err)
		}
	}
	m, err := w.c.Mount(t.Context(), MountRequest{ID: "x", Mode: 0o755})
	must(t, err)
	must(t, m.Close())
	mount := MountRequest{ID: "x", Mode: 0o755}
	if _, err := w.c.State(mount.Name()[:12]); !errors.Is(err, errdefs.InvalidArgument) {
		t.Errorf("a mount: %v", err)
	}
}

// A state goes by itself when nobody has looked into it for long, and with it a
// layer that was only its own; one that was looked into stays.
func TestOldStatesGo(t *testing.T) {
	w := newWorld(t)
	base := w.step("base", "", 1)
	var states []Record
	for _, text := range []string{"old", "used"} {
		r := w.step(text, base.Layer, 1)
		r.Type = State
		must(t, w.c.Put(t.Context(), w.lease, r, nil))
		states = append(states, r)
		w.age(r, 24*8)
	}
	w.begin()
	if _, err := w.c.State(states[1].Key.Hex()); err != nil {
		t.Fatal(err)
	}
	_, err := w.c.Enforce(t.Context(), 1<<30)
	must(t, err)
	if _, err := w.c.State(states[0].Key.Hex()); !errors.Is(err, errdefs.NotFound) {
		t.Errorf("the old state is there: %v", err)
	}
	if _, err := os.Stat(w.root + "/overlay2/" + states[0].Layer); err == nil {
		t.Error("its layer is there")
	}
	if _, err := w.c.State(states[1].Key.Hex()); err != nil {
		t.Errorf("the other: %v", err)
	}
}
