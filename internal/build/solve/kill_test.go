package solve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/build/source"
	"berth/internal/image/catalog"
	"berth/internal/oci"
)

// Environment of a helper process: the data root, the context, the base image,
// and at which event it kills itself (0: never).
const helperEnv = "BERTH_TEST_BUILD"

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) != "" {
		if err := helper(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killedPlan has every kind of step.
func killedPlan(w *world) *plan.Plan {
	one := w.from("one", sh("write", "/1", "a"), sh("true"))
	two := w.from("two", cp(plan.Copy{Paths: []string{"/app"}, Dest: "/2"}))
	bind := sh("write", "/b", "c")
	bind.Op.(*plan.Run).Mounts = []plan.Mount{
		{Type: plan.MountBind, Target: "/m", Path: "/", ReadOnly: false},
		{Type: plan.MountCache, Target: "/c", ID: "c", Sharing: "locked", Mode: 0o755, From: plan.Source{Stage: one}, Path: "/"},
	}
	return planOf(one, two, w.from("last",
		cp(plan.Copy{From: plan.Source{Stage: one}, Paths: []string{"/1"}, Dest: "/"}),
		cp(plan.Copy{From: plan.Source{Stage: two}, Paths: []string{"/2"}, Dest: "/l/", Link: true}),
		plan.Step{Text: "WORKDIR /w", Op: &plan.MakeDir{Path: "/w"}}, bind))
}

// helper builds in a process of its own.
func helper() error {
	at, err := strconv.Atoi(os.Getenv(helperEnv))
	if err != nil {
		return err
	}
	root, files := os.Getenv("BERTH_TEST_ROOT"), os.Getenv("BERTH_TEST_CONTEXT")
	img, err := catalog.Open(root).Get(oci.Digest(os.Getenv("BERTH_TEST_BASE")))
	if err != nil {
		return err
	}
	w := &world{root: root, base: &plan.Image{ID: img.ID, Config: img.Config, TopLayer: img.TopLayer}}
	events := make(chan struct{}, 1)
	n := 0
	r, err := Solve(context.Background(), killedPlan(w), Options{
		DataRoot: root, Runner: &scripted{ran: map[string]int{}},
		Context: func(context.Context, string) (*source.Tree, error) { return source.Dir(files) },
		Events: func(progress.Event) {
			events <- struct{}{}
			if n++; n == at {
				unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			}
			<-events
		},
	})
	if err != nil {
		return err
	}
	return r.Finish(context.Background(), root, 1<<40)
}

func (w *world) helper(at int) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"="+strconv.Itoa(at), "BERTH_TEST_ROOT="+w.root, "BERTH_TEST_CONTEXT="+w.context, "BERTH_TEST_BASE="+string(w.base.ID))
	cmd.Stderr = os.Stderr
	return cmd
}

// Whenever a builder is killed, the next build goes on and what the killed one
// left is collected.
func TestKilledAtEveryEvent(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"app": "program"})
	for at := 1; ; at++ {
		err := w.helper(at).Run()
		var exit *exec.ExitError
		if err == nil {
			if at < 20 {
				t.Errorf("the build had only %d events", at)
			}
			break
		}
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("the helper that should be killed at event %d: %v", at, err)
		}
		w.rebuilt()
		w.empty()
	}
	w.empty()
}

// rebuilt builds the plan here and looks at the files.
func (w *world) rebuilt() {
	w.Helper()
	r := w.solve(killedPlan(w))
	w.wantFile(r, "1=a")
	w.wantFile(r, "l/2=program")
	w.wantFile(r, "b=c")
}

func TestKilledAtRandom(t *testing.T) {
	w := newWorld(t)
	write(t, w.context, map[string]string{"app": "program"})
	begun := time.Now()
	must(t, w.helper(0).Run())
	whole := time.Since(begun)
	w.empty()
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for i := range rounds {
		cmd := w.helper(0)
		must(t, cmd.Start())
		time.Sleep(time.Duration(rand.Int64N(int64(whole))))
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if i%5 == 4 { // the others go on from what the killed ones left
			w.rebuilt()
			w.empty()
		}
	}
	w.rebuilt()
	w.empty()
}
