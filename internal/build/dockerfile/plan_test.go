package dockerfile

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// One text serves several platforms at the same time.
func TestOneFileMakesManyPlans(t *testing.T) {
	f, err := Parse("Dockerfile", []byte("FROM alpine\nARG TARGETARCH\nENV A=$TARGETARCH\nEXPOSE 90 80\nRUN --mount=type=cache,id=$A,target=/c x\n"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, arch := range []string{"amd64", "arm64", "riscv64", "s390x"} {
		for range 4 {
			all.Go(func() {
				o := testOptions()
				o.Platform = oci.Platform{OS: "linux", Architecture: arch}
				p, err := f.Plan(context.Background(), o)
				if err != nil {
					t.Error(err)
					return
				}
				steps := p.Target().Steps
				if run := steps[len(steps)-1].Op.(*plan.Run); run.Mounts[0].ID != arch || p.Platform.Architecture != arch {
					t.Errorf("%s: %+v on %s", arch, run.Mounts[0], p.Platform)
				}
			})
		}
	}
	all.Wait()
}

// Check looks at stages that nothing needs, Plan does not.
func TestCheckSeesEveryStage(t *testing.T) {
	f, err := Parse("Dockerfile", []byte("# check=error=true\nFROM alpine AS unneeded\nLABEL a=$B\nFROM alpine AS Last\n"))
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := f.Check(context.Background(), testOptions())
	if err != nil || len(warnings) != 2 || warnings[0].Rule != "UndefinedVar" || warnings[1].Rule != "StageNameCasing" || warnings[1].URL == "" || warnings[1].Text == "" {
		t.Errorf("%+v, %v", warnings, err)
	}
	o := testOptions()
	o.Target = "last"
	if warnings, err = f.Check(context.Background(), o); err != nil || len(warnings) != 1 {
		t.Errorf("of one target: %+v, %v", warnings, err)
	}
}

func TestStages(t *testing.T) {
	f, err := Parse("Dockerfile", []byte("ARG V\nFROM golang:$V AS build\n\n# tools helps others\nFROM build AS Tools\nFROM scratch\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []StageName{{"build", "golang:$V", 2, ""}, {"tools", "build", 5, "helps others"}, {"", "scratch", 6, ""}}
	if got := f.Stages(); len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%+v", got)
	}
}

// Of several images that are missing the first in the text is told, whichever
// answer comes first; one failure stops the others.
func TestResolveTellsTheFirstError(t *testing.T) {
	text := "FROM a1 AS a\nFROM b1 AS b\nFROM c1\nCOPY --from=a / /\nCOPY --from=b / /\n"
	o := testOptions()
	late := make(chan struct{})
	o.Resolve = func(ctx context.Context, name string, _ oci.Platform) (*plan.Image, error) {
		if name == "c1" {
			<-ctx.Done() // until another one failed
			return nil, ctx.Err()
		}
		if name == "a1" {
			<-late
		} else {
			defer close(late)
		}
		return nil, errdefs.New(errdefs.Unavailable, "no way to %s", name).WithHint("wait")
	}
	_, err := makePlan(text, o)
	if err == nil || !strings.Contains(err.Error(), "Dockerfile:1:6: no way to a1") || !errors.Is(err, errdefs.Unavailable) || errdefs.HintOf(err) != "wait" {
		t.Errorf("%v", err)
	}
}

func TestPlanEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	f, err := Parse("Dockerfile", []byte("FROM scratch\nFROM alpine\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Plan(ctx, testOptions()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Steps share what did not change, so a change must not reach back.
func TestStepsKeepTheirConfig(t *testing.T) {
	p, err := makePlan("FROM web AS base\nENV A=1\nLABEL a=1\nEXPOSE 1\nVOLUME /1\nONBUILD RUN x\nENV A=2 B=2\nLABEL a=2\nEXPOSE 2\nVOLUME /2\nFROM base\nENV A=3\nLABEL tier=x\nFROM base\nENV C=4\nCOPY --from=1 / /\n", testOptions())
	if err != nil {
		t.Fatal(err)
	}
	first := p.Stages[0].Steps
	early, late := first[3].Config, first[len(first)-1].Config
	if strings.Join(early.Env, " ") != "PATH=/bin ROOT=/srv A=1" || early.Labels["a"] != "1" || len(early.ExposedPorts) != 1 || len(early.Volumes) != 1 {
		t.Errorf("after line 5: %+v", early)
	}
	if strings.Join(late.Env, " ") != "PATH=/bin ROOT=/srv A=2 B=2" || late.Labels["a"] != "2" || len(late.ExposedPorts) != 2 || len(late.Volumes) != 2 {
		t.Errorf("at the end: %+v", late)
	}
	if c := p.Target().Config.Config; strings.Join(c.Env, " ") != "PATH=/bin ROOT=/srv A=2 B=2 C=4" || c.Labels["tier"] != "web" {
		t.Errorf("of the other stage: %+v", c)
	}
	if image := images()["web"].Config; image.Labels["tier"] != "web" || len(image.Env) != 2 {
		t.Errorf("the image was changed: %+v", image)
	}
}
