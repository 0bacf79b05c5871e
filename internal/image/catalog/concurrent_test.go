package catalog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/reference"
)

// Pulls, containers and removals of one image at once: whoever is told that the
// image is there finds its layers there.
func TestRemoveAgainstUse(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	var containers sync.Map // snapshot id -> true: the layers that containers use
	inUse := func(id string) bool { _, ok := containers.Load(id); return ok }
	stop := make(chan struct{})

	for range 3 { // removers
		wg.Go(func() {
			s := Open(root)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if id, err := s.Lookup("app"); err == nil {
					if _, err := remove(s, id, inUse); err != nil && !errors.Is(err, errdefs.Conflict) {
						t.Errorf("remove: %v", err)
					}
				}
				r, err := s.Exclusive()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := r.Sweep(inUse); err != nil {
					t.Errorf("sweep: %v", err)
				}
				err = r.GC(func(id string) bool { _, ok := containers.Load("container " + id); return ok })
				err = errors.Join(err, r.Close())
				if _, rerr := s.layers.Reclaim(context.Background()); err != nil || rerr != nil {
					t.Errorf("gc: %v, %v", err, rerr)
				}
			}
		})
	}
	var users sync.WaitGroup
	for worker := range 4 {
		users.Go(func() {
			s := Open(root)
			for range 6 {
				if err := pullAndRun(s, worker, &containers); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	users.Wait()
	close(stop)
	wg.Wait()
}

// pullAndRun makes sure of the image, then makes a container of it.
func pullAndRun(s *Store, worker int, containers *sync.Map) error {
	l, err := s.Lease()
	if err != nil {
		return err
	}
	defer l.Close()
	if err := addLayers(s, l, "base", "top"); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	img, err := l.Put(context.Background(), config("app", "base", "top"), "")
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	n, err := reference.Parse("app")
	if err != nil {
		return err
	}
	if _, err := s.Tag(n, img.ID); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	hold, err := s.Hold()
	if err != nil {
		return err
	}
	defer hold.Release()
	got, err := s.Resolve("app")
	if err != nil {
		return fmt.Errorf("resolve under lease: %w", err)
	}
	id := ident.New()
	if err := s.layers.Prepare(id, got.TopLayer); err != nil {
		return fmt.Errorf("worker %d: %w", worker, err)
	}
	below, err := s.layers.Below(id)
	if err != nil {
		return err
	}
	for _, b := range below {
		containers.Store(b, true)
		if !s.layers.Exists(b) {
			return fmt.Errorf("layer %s of a container is gone", b)
		}
	}
	containers.Store("container "+id, true)
	return nil
}

// TestPullChild is a whole pull of an image by another process.
func TestPullChild(t *testing.T) {
	root := os.Getenv("BERTH_CATALOG_PULL")
	if root == "" {
		t.Skip("run by TestParallelProcesses")
	}
	var sink sync.Map
	for range 5 {
		must(t, pullAndRun(Open(root), 0, &sink))
	}
}

func TestParallelProcesses(t *testing.T) {
	root := t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestPullChild$")
			cmd.Env = append(os.Environ(), "BERTH_CATALOG_PULL="+root)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	s := Open(root)
	if got := ls(t, s.layerDir()); len(got) != 2 {
		t.Errorf("layer records: %v, want 2", got)
	}
	_, err := s.layers.Reclaim(context.Background()) // of layers that lost the race for their record
	must(t, err)
	if got := ls(t, s.layers.Dir()); len(got) != 2+1+40+1 { // layers, init layer, containers, l
		t.Errorf("%d directories, want 44: %v", len(got), got)
	}
}

const crashEnv = "BERTH_CATALOG_CRASH"

// TestCrashChild pulls and removes an image and is killed before one of the steps.
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
	img := image(t, s, "base top", "app")
	_, err := remove(s, img.ID, noContainers)
	must(t, err)
}

func TestCrash(t *testing.T) {
	steps := []string{"write record", "sync layer", "commit layer", "rename record", "sync records", "write config", "write names", "remove config", "remove records", "remove layers"}
	for _, step := range steps {
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
			// Every record that is there is whole.
			list, err := s.List()
			must(t, err)
			for _, e := range list {
				if e.Err != nil {
					t.Errorf("image %s: %v", e.ID, e.Err)
				}
				if img, err := s.Get(e.ID); err != nil || !s.layers.Exists(img.TopLayer) {
					t.Errorf("image %s: %v", e.ID, err)
				}
			}
			chains, err := s.chains()
			must(t, err)
			for _, c := range chains {
				if l, err := s.Layer(c); err != nil || !s.layers.Exists(l.Snapshot) {
					t.Errorf("layer %s: %v", c, err)
				}
			}
			// And the next pull, removal and collection work and leave nothing.
			img := image(t, s, "base top", "app")
			_, err = remove(s, img.ID, noContainers)
			must(t, err)
			r, err := s.Exclusive()
			must(t, err)
			defer r.Close()
			_, err = r.Sweep(noContainers)
			must(t, err)
			must(t, r.GC(noContainers))
			_, err = s.layers.Reclaim(context.Background())
			must(t, err)
			for dir, want := range map[string]int{s.layerDir(): 0, s.contentDir(): 0, s.leaseDir(): 0, s.layers.Dir(): 1, s.layers.Dir() + "/l": 0} {
				if got := ls(t, dir); len(got) != want {
					t.Errorf("left in %s: %v", dir, got)
				}
			}
		})
	}
}

// The order in which things reach the disk: what a record refers to, then the record.
func TestDurableOrder(t *testing.T) {
	s := Open(t.TempDir())
	var steps []string
	s.at = func(step string) { steps = append(steps, step) }
	img := image(t, s, "base", "app")
	_, err := remove(s, img.ID, noContainers)
	must(t, err)
	want := "write record,sync layer,commit layer,rename record,sync records,write config,write names,write names,remove config,remove records,remove layers"
	if got := strings.Join(steps, ","); got != want {
		t.Errorf("steps %s\nwant  %s", got, want)
	}
}
