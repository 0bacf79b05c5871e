// Package build provides `berth build` and `berth builder`: it reads the flags,
// opens the contexts, and joins the parts that know nothing of each other.
//
//	flags -> request                     flags.go, values.go, output.go, request.go
//	request -> contexts -> text          contexts.go, definition.go
//	text -> plan                         build/dockerfile; base images by images.go
//	plan -> layers and config            build/solve; programs by runner.go over engine.RunStep
//	result -> image, files, archive      build/export, by results.go
//	events -> what the user sees         printer
//
// Whatever a build says on the way goes to standard error; what it makes, or
// the image's id with -q, to standard output.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/build/cache"
	"berth/internal/build/dockerfile"
	"berth/internal/build/export"
	"berth/internal/build/plan"
	"berth/internal/build/portable"
	"berth/internal/build/progress"
	"berth/internal/build/solve"
	"berth/internal/cli/command"
	"berth/internal/cli/daemon/build/printer"
	"berth/internal/image/catalog"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/reference"
	"berth/internal/storage/snapshot"
)

// Host is what a build needs from the rest of the command line.
type Host struct {
	Env  *command.Env
	Pull Pull
	// Send pushes images, as `berth push` does but without a word.
	Send export.Send
	// Repository connects to a repository of a registry.
	Repository func(context.Context, reference.Named, RepositoryOptions) (*portable.Repository, error)
	// Emit writes an event of an image to the journal.
	Emit func(action, id, name string)
}

// RepositoryOptions say what for a repository is used.
type RepositoryOptions struct {
	Write    bool // it is written to as well
	Insecure bool // plain HTTP and unknown certificates will do
}

// New is `berth build`.
func New(h *Host) *cobra.Command {
	var f flags
	forRun := false
	cmd := &cobra.Command{
		Use:                   "build [OPTIONS] PATH | URL | -",
		DisableFlagsInUseLine: true,
		Short:                 "Make an image from a Dockerfile",
		Example: "  berth build -t web .\n  berth build -f web.Dockerfile --target test --build-arg VERSION=1.2 .\n" +
			"  berth build --secret id=token,src=token.txt -o out .\n  berth build https://github.com/owner/name.git#main",
		Args: command.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := f.request(args[0])
			if err != nil {
				return err
			}
			b := &build{Host: h, request: r, printID: r.quiet || forRun}
			return b.run(cmd.Context())
		},
	}
	f.bind(cmd.Flags(), h.Env)
	cmd.Flags().BoolVar(&forRun, "for-run", false, "Print the image's id besides the progress")
	cmd.Flags().Lookup("for-run").Hidden = true
	return cmd
}

// build is one `berth build`.
type build struct {
	*Host
	*request
	printID bool

	printer    *printer.Printer
	silence    sync.RWMutex // held to show an event; guards silent
	silent     bool         // the printer has ended before the build
	told       bool         // what failed is shown
	sink       progress.Sink
	started    time.Time
	invocation string

	work     *workspace
	contexts *contexts
	text     definition
	file     *dockerfile.File
	warning  sync.Mutex // guards warnings: steps run at the same time
	warnings []string
}

// run does the build and says how it went wrong.
func (b *build) run(ctx context.Context) (err error) {
	b.printer, err = printer.Start(b.printing())
	if err != nil {
		return err
	}
	b.started, b.invocation = time.Now(), newInvocation()
	b.sink = b.show
	made, err := b.do(ctx)
	b.printer.Close()
	if err != nil && ctx.Err() != nil {
		fmt.Fprintln(b.Env.Err, "berth: interrupted; the steps that are done are kept for the next build") //nolint:errcheck // stderr is the last resort
		return command.ExitError{Code: exitInterrupted}
	}
	b.remark()
	if err != nil {
		return b.explain(err)
	}
	return b.tell(made)
}

// exitInterrupted is 128 + SIGINT.
const exitInterrupted = 130

// do does the build and takes down everything that it needed.
func (b *build) do(ctx context.Context) (made *made, err error) {
	if err := b.checkFiles(); err != nil {
		return nil, err
	}
	if b.work, err = newWorkspace(b.Env.DataRoot); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.work.Close()) }()
	secrets, err := readSecrets(b.secrets, b.Env.LookupEnv)
	if err != nil {
		return nil, err
	}
	agents, err := newAgents(b.ssh, b.work.dir, b.Env.LookupEnv)
	if err != nil {
		return nil, err
	}
	defer agents.Close()
	b.contexts = &contexts{dataRoot: b.Env.DataRoot, work: b.work, sink: b.sink, lookup: b.Env.LookupEnv, secrets: secrets}
	defer func() { err = errors.Join(err, b.contexts.close()) }()
	if err := b.contexts.prepare(ctx, b.request.contexts); err != nil {
		return nil, err
	}
	if b.text, err = b.contexts.definition(ctx, b.request, b.Env.In); err != nil {
		return nil, err
	}
	if b.file, err = dockerfile.Parse(b.text.name, b.text.text); err != nil {
		return nil, err
	}
	return b.perform(ctx, agents)
}

// perform does what --call says with the Dockerfile.
func (b *build) perform(ctx context.Context, agents *agents) (_ *made, err error) {
	if b.call == "targets" {
		return b.targets(b.file)
	}
	b.announce()
	store := catalog.Open(b.Env.DataRoot)
	lease, err := store.Lease()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lease.Close()) }()
	found := &images{
		catalog: store, layers: snapshot.Open(b.Env.DataRoot), cache: cache.Open(b.Env.DataRoot), loader: transfer.New(b.Env.DataRoot, 0),
		lease: lease, pull: b.Pull, always: b.pull, several: len(b.platforms) > 1, sink: b.sink,
	}
	if b.call == "check" {
		warnings, err := b.file.Check(ctx, b.planOptions(found, b.platformsOf()[0]))
		if err != nil {
			return nil, err
		}
		return b.remarks(warnings)
	}
	plans, err := b.plans(ctx, found)
	if err != nil {
		return nil, err
	}
	if b.call == "outline" {
		return b.outline(plans[0])
	}
	return b.solve(ctx, plans, agents)
}

func (b *build) planOptions(found *images, target oci.Platform) dockerfile.Options {
	o := dockerfile.Options{
		Target: b.target, BuildArgs: b.buildArgs, Platform: target, Labels: b.labels, Contexts: b.contexts.images,
		Network: b.network, Resolve: found.resolve,
	}
	if b.contexts.main != nil {
		o.Ignored = func(path string) bool {
			_, all := b.contexts.main.Ignored(strings.TrimPrefix(path, "/"), true)
			return all
		}
	}
	return o
}

// solve carries the plans out and hands over what came of them.
func (b *build) solve(ctx context.Context, plans []*plan.Plan, agents *agents) (_ *made, err error) {
	e, err := b.Env.Open(ctx)
	if err != nil {
		return nil, err
	}
	runner := newRunner(e, b.request, agents, b.warn)
	o := solve.Options{
		DataRoot: b.Env.DataRoot, Runner: runner,
		Context: b.contexts.open, Remote: b.contexts.remote, Secret: b.contexts.secrets.open, SSH: agents.socket,
		NoCache: b.noCache, NoCacheStages: b.noCacheFilter,
		AllowInsecure: b.allowInsecure, AllowHostNetwork: b.allowHost,
		Surroundings: b.surroundings(), Events: b.sink, KeepFailed: b.onError == "keep",
		ShowPlatform: len(plans) > 1,
	}
	if b.onError == "shell" {
		o.Failed = func(ctx context.Context, r *solve.RunRequest, err error) { b.lookInto(ctx, runner, r, err) }
	}
	if b.mode == printer.Classic {
		o.Name = b.stepImage
	}
	if len(b.cacheFrom) > 0 && !b.noCache && !b.verify {
		o.Imports = b.imports(ctx)
	}
	o.Everything = b.wants(isWhole)
	if b.verify {
		return b.twice(ctx, plans[0], o)
	}
	results, err := solveAll(ctx, plans, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, r := range results {
			err = errors.Join(err, b.finish(ctx, r))
		}
	}()
	if err := b.contexts.save(); err != nil {
		b.warn(err.Error())
	}
	shown := slices.Clone(results)
	if b.squash {
		for i, r := range results {
			if shown[i], err = export.Squash(ctx, r, b.Env.DataRoot, b.sink); err != nil {
				return nil, err
			}
		}
	}
	m, err := b.export(ctx, shown)
	if err != nil {
		return nil, err
	}
	return m, b.writeCache(ctx, results)
}

// stepImage makes an image of the state after a step: the ids that classic
// output shows can be run, to see what a step did. As in Docker they are kept as
// parents of the image, and go with it.
func (b *build) stepImage(ctx context.Context, r *solve.Result, below oci.Digest) (oci.Digest, error) {
	img, err := export.Image(ctx, r, export.ImageOptions{DataRoot: b.Env.DataRoot, Parent: b.parent(below)})
	if err != nil {
		return "", err
	}
	return img.ID, nil
}

// parent is the image of a state, "" if it is none: nothing, or a build context.
func (b *build) parent(state oci.Digest) oci.Digest {
	if _, err := catalog.Open(b.Env.DataRoot).Get(state); err != nil {
		return ""
	}
	return state
}

// finish ends the build, and keeps the cache within its size.
func (b *build) finish(ctx context.Context, r *solve.Result) error {
	limit, err := cache.DefaultLimit(b.Env.DataRoot)
	if err == nil {
		err = r.Finish(ctx, b.Env.DataRoot, limit)
	}
	return errors.Join(err, r.Close())
}

// made is what a build gave.
type made struct {
	id     oci.Digest // of the image; "" if none was made
	digest oci.Digest // of its manifest
	index  bool       // id is that of an index over several platforms
	stored bool
	text   string // what --call asked for
	failed bool   // --check found something
}

// checkFiles finds out before the build whether its ends can be written. An
// --iidfile of an earlier build goes away, as Docker has it: after a build that
// fails there is none.
func (b *build) checkFiles() error {
	if b.iidFile == "" {
		return nil
	}
	if err := os.Remove(b.iidFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cannot write the image's id: %w", err)
	}
	f, err := os.OpenFile(b.iidFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("cannot write the image's id: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(b.iidFile))
}
