package plan

import (
	"time"

	"berth/internal/oci"
)

// Plan is one build for one platform.
type Plan struct {
	Platform oci.Platform // of the result
	// Stages are those that the target needs, in the order of the file. The
	// last one is the target.
	Stages   []*Stage
	Warnings []Warning
	// UnusedArgs are the build arguments that were given but that nothing declares.
	UnusedArgs []string
	// Args are the build arguments that the stages declare or name, by line.
	Args []Arg
	// Epoch is SOURCE_DATE_EPOCH (reproducible-builds.org): the time that the
	// image's config and history bear; nil: the time of the build.
	Epoch *time.Time
}

// Target is the stage whose result the user wants.
func (p *Plan) Target() *Stage { return p.Stages[len(p.Stages)-1] }

// Stage is one FROM and what follows it.
type Stage struct {
	Name     string // "build" of "FROM golang AS build"; its number if it has none
	Index    int    // its place in the file, from 0
	Line     int
	Text     string       // "FROM golang:1.26 AS build", as progress shows it
	Platform oci.Platform // of its base, and so of its programs
	Base     Base
	Steps    []Step
	// Config is the image's config after the last step. RootFS and History are
	// those of Base.Image, empty for any other base: the solver puts in what the
	// base stage and the steps gave.
	Config oci.ImageConfig
}

// Base is what a stage begins from: exactly one field is set, none for scratch.
type Base struct {
	Image *Image
	Stage *Stage
	// Context names a build context given by the user, whose files are the base.
	Context string
}

// Image is an image that a stage or a COPY --from needs, found before the plan
// was made: its environment fills variables, its ONBUILD triggers are steps.
type Image struct {
	Name     string // as the user wrote it
	ID       oci.Digest
	Config   oci.ImageConfig
	TopLayer string // in storage/snapshot; "" if it has none
}

// Step is one instruction after FROM, or a trigger that the base left behind
// (ONBUILD; its lines are those of FROM). The instruction ONBUILD is no step: it
// leaves no history and is found in the stage's Config.
type Step struct {
	Line, EndLine int    // in the Dockerfile, from 1
	Text          string // as progress and errors show it: "RUN apk add curl"
	Op            Op     // nil: it changes only the config
	// Config is how a container of the image would run after this step. RUN
	// takes Env, User and WorkingDir from the step's Op, which also holds ARGs.
	Config  oci.RunConfig
	History oci.History // Created is filled in by the solver
}

// Arg is an ARG that can be given with --build-arg.
type Arg struct {
	Name  string
	Value string // that it has in this plan
	Text  string // its description: the comment "# NAME text" above it
	Line  int
}

// Warning is a remark of the linter (`# check`, build --check).
type Warning struct {
	Rule   string // "StageNameCasing"
	Text   string
	Detail string // what is wrong here
	URL    string
	Line   int
}
