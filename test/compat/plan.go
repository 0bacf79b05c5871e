package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"berth/internal/build/dockerfile"
	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// plan plans every stage for every platform, and all of it at once for the linter.
func (p *project) plan(ctx context.Context, f *dockerfile.File, platforms []oci.Platform, o *outcome) {
	stages := f.Stages()
	o.stages = len(stages)
	steps := map[int]int{}
	opt := dockerfile.Options{
		BuildArgs: p.values("build-arg"), Contexts: map[string]dockerfile.Context{}, Resolve: standIn,
		BuildPlatform: platforms[0],
	}
	for name, at := range p.values("build-context") {
		image, _ := strings.CutPrefix(at, "docker-image://")
		if image == at {
			image = ""
		}
		opt.Contexts[name] = dockerfile.Context{Image: image}
	}
	for i := range stages {
		for _, opt.Platform = range platforms {
			opt.Target = strconv.Itoa(i)
			o.plans++
			made, err := f.Plan(ctx, opt)
			if err != nil {
				o.fail(fmt.Errorf("target %s for %s: %w", opt.Target, opt.Platform, err))
				continue
			}
			o.planned++
			for _, s := range made.Stages {
				steps[s.Index] = len(s.Steps)
			}
		}
	}
	opt.Target = ""
	if _, err := f.Check(ctx, opt); err != nil {
		o.fail(fmt.Errorf("check: %w", err))
	}
	for _, n := range steps {
		o.steps += n
	}
}

// standIn answers for every image: it is what a small distribution's image says.
func standIn(_ context.Context, name string, p oci.Platform) (*plan.Image, error) {
	if _, err := reference.Parse(name); err != nil {
		return nil, errdefs.New(errdefs.InvalidArgument, "failed to parse image name %q: %w", name, err)
	}
	return &plan.Image{Name: name, ID: oci.DigestOf([]byte(name)), Config: oci.ImageConfig{
		OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		Config: oci.RunConfig{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}},
	}}, nil
}
