package copy

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/source"
	"berth/internal/linux/rootpath"
)

// TestOverlay copies into a real overlay mount over a layer with files in the
// way, and gets the same digest of what it made.
func TestOverlay(t *testing.T) {
	lower, upper, work, merged := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	grow(t, lower, "d 0711 x\nf 0600 x/old o\nf 0600 x/one low\nl run /v\nd 0755 v\no 5:5 x\nf 0644 etc/passwd web:x:33:44:::")
	ctx := t.TempDir()
	grow(t, ctx, sample)
	tree := contextOf(t, ctx)
	var stage *os.File
	done := make(chan error, 1)
	go func() {
		// The mount is seen by this thread alone, which ends with the goroutine.
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			err := unix.Mount("overlay", merged, "overlay", 0, "lowerdir="+lower+",upperdir="+upper+",workdir="+work)
			if err != nil {
				return err
			}
			stage, err = rootpath.OpenRoot(merged)
			return err
		}()
	}()
	must(t, <-done)
	made := source.Open(stage)
	defer made.Close()
	c := plan.Copy{Paths: []string{"/dir"}, Dest: "/x", Chown: "web"}
	want := digestOf(t, tree, c, &Owner{33, 44})
	must(t, Into(context.Background(), Sources{Main: tree}, &c, stage, Options{}))
	back := digestOf(t, made, plan.Copy{Paths: []string{"/x"}, Dest: "/", Exclude: []string{"old"}, Chown: "web"}, &Owner{33, 44})
	if back != want {
		t.Error("what was made has another digest than what was to be copied")
	}
	got := show(t, upper)
	const files = "d711 33:44 x/sub\nd711 5:5 x\nf600 33:44 x/sub/two 2\nf640 33:44 x/one 1\nl 33:44 x/link -> sub/two\nl 33:44 x/out -> /etc/passwd"
	if got != files {
		t.Errorf("the layer holds\n%s\nwant\n%s", got, files)
	}
	for _, c := range []plan.Copy{
		{Paths: []string{"/a.txt"}, Dest: "/run/deep/"},
		{Paths: []string{"/a.txt"}, Dest: "/x/old"},
	} {
		must(t, Into(context.Background(), Sources{Main: tree}, &c, stage, Options{}))
	}
	for name, want := range map[string]string{"v/deep/a.txt": "A", "x/old": "A"} {
		if b, err := os.ReadFile(filepath.Join(upper, name)); string(b) != want {
			t.Errorf("%s holds %q, %v", name, b, err)
		}
	}
}
