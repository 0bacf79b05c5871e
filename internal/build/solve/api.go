package solve

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"berth/internal/build/plan"
	"berth/internal/build/portable"
	"berth/internal/oci"
)

// Runner runs the program of a RUN step.
type Runner interface {
	// Run runs r.Step in the tree r.Root and returns when the program has ended
	// and nothing of it is left: no process, no mount, no file that it did not
	// make itself. A program that ends with another code than 0 is an *ExitError.
	Run(ctx context.Context, r *RunRequest) error
}

// RunRequest is one program to run.
type RunRequest struct {
	ID       string   // names the container while it lives: 64 hex digits
	Root     *os.File // the root directory, an overlay mount that nobody else writes to
	Step     *plan.Run
	Platform oci.Platform
	// Mounts are those of Step.Mounts that are to appear, in their order: an
	// optional secret that was not given is left out.
	Mounts         []RunMount
	Stdout, Stderr io.Writer // may be called at the same time
}

// RunMount is one RUN --mount with what it shows.
type RunMount struct {
	plan.Mount
	// Source is what is to appear at Target: for bind a tree, of which Path names
	// the part ("" is all; links count from Source), for cache a directory, for
	// secret a readable file, for ssh what Options.SSH opened. nil for tmpfs.
	// Path is "" for all but bind.
	Source *os.File
	// File says that a file or socket appears, not a directory.
	File bool
}

// ExitError says that a program ended with a code other than 0.
type ExitError struct {
	Code int
	// Signal is the number of the signal that ended it, 0 if it ended by itself.
	Signal int
}

// Error returns what Docker says.
func (e *ExitError) Error() string { return fmt.Sprintf("exit code: %d", e.Code) }

// StepError says where in the Dockerfile a build failed.
type StepError struct {
	Stage         string // the stage's name
	Line, EndLine int
	Text          string // the instruction
	// Before is what shows the state before the step when it is run: an image, or
	// a build state (cache.State). "" if that had no files.
	Before string
	// After is the build state that the step's program left; "" if it is not kept
	// (Options.KeepFailed).
	After string
	Err   error
}

// Error returns the cause with its line.
func (e *StepError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// Layer is a layer that the build made, or found in its cache.
type Layer struct {
	ID      string     // in storage/snapshot; "" for a build context without files
	Key     oci.Digest // of the record in build/cache that names it
	DiffID  oci.Digest // "" as long as nobody has computed it
	Created time.Time  // when it was first made
	Size    int64      // bytes of its files
	Text    string     // of the step
	Cached  bool       // it was there before this build

	from *portable.Stacked // where it is to be had, as long as ID is ""
}

// Step is what a step made, in whichever stage.
type Step struct {
	Key    oci.Digest
	Hollow bool        // that it was made is known, and no more
	Base   *plan.Image // at the bottom of its files; nil: none
	Layers []Layer     // on top of it
}
