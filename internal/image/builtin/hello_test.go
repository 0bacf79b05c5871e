package builtin

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"berth/internal/image/catalog"
	"berth/internal/reference"
	"berth/internal/storage/snapshot"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestIsHello(t *testing.T) {
	for ref, want := range map[string]bool{"hello": true, "hello:latest": true, "hello:1": false, "hello-world": false, "x/hello": false, "": false} {
		if IsHello(ref) != want {
			t.Errorf("IsHello(%q) = %v", ref, !want)
		}
	}
}

func TestAddHello(t *testing.T) {
	root := t.TempDir()
	images, layers := catalog.Open(root), snapshot.Open(root)
	exe := filepath.Join(t.TempDir(), "program")
	must(t, os.WriteFile(exe, []byte("first"), 0o700))

	add := func() *catalog.Image {
		t.Helper()
		must(t, AddHello(context.Background(), images, layers, exe, runtime.GOARCH))
		img, err := images.Resolve("hello")
		must(t, err)
		return img
	}
	var wg sync.WaitGroup
	for range 8 { // the first use may be many at once
		wg.Go(func() {
			if err := AddHello(context.Background(), images, layers, exe, runtime.GOARCH); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	first := add()
	if first.Config.Config.Cmd[1] != "hello" || first.Config.Architecture != runtime.GOARCH {
		t.Errorf("config: %+v", first.Config)
	}
	path := layers.Diff(first.TopLayer) + "/berth"
	b, err := os.ReadFile(path)
	st, serr := os.Stat(path)
	if err != nil || serr != nil || string(b) != "first" || st.Mode().Perm() != 0o755 {
		t.Errorf("/berth holds %q, mode %v, %v %v", b, st.Mode(), err, serr)
	}
	if again := add(); again.ID != first.ID {
		t.Error("made again although the executable is the same")
	}
	must(t, os.WriteFile(exe, []byte("second"), 0o700))
	must(t, os.Chtimes(exe, time.Now(), time.Now().Add(time.Hour)))
	second := add()
	if b, _ := os.ReadFile(layers.Diff(second.TopLayer) + "/berth"); string(b) != "second" {
		t.Errorf("after the executable changed /berth holds %q", b)
	}

	// The name belongs to an image of the user's now: it stays.
	lease, err := images.Lease()
	must(t, err)
	defer lease.Close()
	other, err := lease.Put(context.Background(), []byte(`{"architecture":"x","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`), "")
	must(t, err)
	name, err := reference.Parse("hello")
	must(t, err)
	_, err = images.Tag(name, other.ID)
	must(t, err)
	if got := add(); got.ID != other.ID {
		t.Error("an image of the user's lost its name")
	}
	if err := AddHello(context.Background(), images, layers, exe+"absent", "x"); err == nil {
		t.Error("no error for a missing executable")
	}
}
