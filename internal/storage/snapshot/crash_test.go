package snapshot

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Data must be on the disk before its name is, and names before Commit returns.
func TestCommitSyncsDataBeforeNames(t *testing.T) {
	s := Open(t.TempDir())
	var steps []string
	s.at = func(step string) {
		switch {
		case step == "sync data" && !exists(s.Dir()+"/"+names(t, s.Dir())[:len(draftPrefix)+64]+"/committed"):
			t.Error("the layer's own files are written after the sync")
		case step == "rename" && names(t, s.Dir()+"/l") != "":
			t.Error("there is a link before the layer")
		}
		steps = append(steps, step)
	}
	layer(t, s, "", nil)
	if want := []string{"sync data", "rename", "link", "sync links", "sync layers"}; !slices.Equal(steps, want) {
		t.Errorf("steps %v\nwant  %v", steps, want)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A process may die between the two directories of a new store.
func TestHalfMadeStore(t *testing.T) {
	s := Open(t.TempDir())
	must(t, os.Mkdir(s.Dir(), storeMode))
	must(t, s.Prepare("container", layer(t, s, "", nil)))
	must(t, os.RemoveAll(s.Dir()))
	must(t, os.Mkdir(s.Dir(), storeMode))
	must(t, s.Prepare("container", ""))
}

// crashEnv tells a child test process which step to die before.
const crashEnv = "BERTH_SNAPSHOT_CRASH"

// TestCrashChild is the victim of TestCrash: it makes a layer and a container,
// removes the container, and is killed in front of one of the steps.
func TestCrashChild(t *testing.T) {
	step, root, ok := strings.Cut(os.Getenv(crashEnv), "@")
	if !ok {
		t.Skip("run by TestCrash")
	}
	s := Open(root)
	s.at = func(at string) {
		if at == step {
			unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
	}
	top := layer(t, s, "", func(dir string) { write(t, dir, "file") })
	must(t, s.Prepare("container", top))
	must(t, s.Remove("container"))
	if step == "none" {
		t.Fatal("reached the end") // so that the parent sees the difference
	}
}

func TestCrash(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("init layers of several layers need root")
	}
	for _, step := range []string{"sync data", "rename", "link", "sync links", "sync layers", "link init", "rename init", "rename to trash", "unlink"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
			cmd.Env = append(os.Environ(), crashEnv+"="+step+"@"+root)
			out, err := cmd.CombinedOutput()
			if ee, ok := err.(*exec.ExitError); !ok || ee.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal() != unix.SIGKILL {
				t.Fatalf("the child was not killed at %q: %v\n%s", step, err, out)
			}
			s := Open(root)
			top := layer(t, s, "", func(dir string) { write(t, dir, "file") })
			must(t, s.Prepare("next", top))
			collect(t, s, func(id string) bool { return id == top || id == "next" })
			want := []string{top, top + "-init", "next", "l"}
			slices.Sort(want)
			if got := names(t, s.Dir()); got != strings.Join(want, " ") {
				t.Errorf("left %s\nwant %s", got, strings.Join(want, " "))
			}
			if n := strings.Count(names(t, s.Dir()+"/l"), " ") + 1; n != 3 {
				t.Errorf("%d links, want 3", n)
			}
			// What the dead process left of the image is used again or replaced.
			for _, name := range []string{top, "next"} {
				_, err := s.Below(name)
				must(t, err)
			}
		})
	}
}
