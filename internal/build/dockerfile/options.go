package dockerfile

import (
	"context"
	"time"

	"berth/internal/build/plan"
	"berth/internal/oci"
)

// Options are what the user and the caller add to the text.
type Options struct {
	// Target is the stage to build, by name or number; "" is the last.
	Target string
	// BuildArgs are the values of --build-arg.
	BuildArgs map[string]string
	// Platform is what the image is for; zero: BuildPlatform, and what the base
	// image says is kept.
	Platform oci.Platform
	// BuildPlatform is what programs of the build run on; zero: this machine's.
	BuildPlatform oci.Platform
	// Labels are put on the result besides the Dockerfile's.
	Labels map[string]string
	// Contexts are the build contexts that the user named. Wherever the text
	// names a stage or an image of that name, the context is taken instead.
	Contexts map[string]Context
	// Network is what RUN gets unless it says otherwise: "default", "none" or
	// "host"; "" is "default".
	Network string
	// Resolve finds an image: its config, and where it lies in the store. name
	// is as the Dockerfile has it, with variables filled in. It is called once
	// for each name and platform, and for several at the same time.
	Resolve func(ctx context.Context, name string, platform oci.Platform) (*plan.Image, error)
	// Ignored reports whether .dockerignore leaves out a path of the main context
	// and all that may lie below it, for a warning; nil: nothing is left out.
	Ignored func(path string) bool
}

// Context is a build context with a name of the user's (--build-context).
type Context struct {
	// Image is what Resolve is asked for if the context is an image
	// (docker-image://NAME); "" for a directory, a repository or a tar.
	Image string
}

// setup is Options with every default filled in.
type setup struct {
	Options
	// implicit says that the user named no platform: the base image's is kept.
	implicit bool
	epoch    *time.Time
	budget   *budget
}

func (o Options) setup() *setup {
	s := &setup{Options: o, budget: newBudget()}
	if s.BuildPlatform.Architecture == "" {
		s.BuildPlatform = oci.HostPlatform()
	}
	s.BuildPlatform = s.BuildPlatform.Normalize()
	if s.Platform.Architecture == "" {
		s.Platform, s.implicit = s.BuildPlatform, true
	}
	s.Platform = s.Platform.Normalize()
	if s.Network == "" {
		s.Network = "default"
	}
	return s
}
