package solve

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/portable"
	"berth/internal/build/progress"
	"berth/internal/build/source"
	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/oci"
	"berth/internal/storage/snapshot"
)

// Options say what a build works with. The functions may be called by several
// goroutines at once.
type Options struct {
	DataRoot string
	Runner   Runner
	// Context opens a build context: "" is the main one. It is called once for
	// each that is needed, and keeps the tree until the build has ended.
	Context func(ctx context.Context, name string) (*source.Tree, error)
	// Remote fetches one of Copy.Remote. The solver closes the tree.
	Remote func(ctx context.Context, address string, c *plan.Copy) (*source.Tree, error)
	// Secret and SSH open what the user gave under an id, nil if nothing; the
	// solver closes the file.
	Secret, SSH func(id string) (*os.File, error)

	// Imports are caches from elsewhere, asked where this one knows nothing; nil: none.
	Imports *portable.Imports
	// Everything brings the files of all stages here, also of those that the
	// target's steps do not need because they are in a cache from elsewhere.
	Everything    bool
	NoCache       bool     // do everything again
	NoCacheStages []string // the same for some stages: names, or numbers of unnamed ones
	// AllowInsecure and AllowHostNetwork are the user's consent to RUN
	// --security=insecure and --network=host.
	AllowInsecure, AllowHostNetwork bool
	// Surroundings is what every program sees besides its step, such as extra
	// lines of /etc/hosts: part of the key of each RUN.
	Surroundings []string
	Parallel     int  // steps that work at once; 0: as many as there are processors
	ShowPlatform bool // vertexes are named with their platform: there are several builds
	Events       progress.Sink
	// Name gives every state its name (progress.Finished.State): that of an image
	// that it makes of r, the result as if the build ended there, which it does not
	// close. below is the name of the state before. nil: a digest that is no image's.
	Name func(ctx context.Context, r *Result, below oci.Digest) (oci.Digest, error)
	// Failed, when not nil, is called when a program has ended with another code
	// than 0 and everything else of the build has stopped. r asks for the same
	// program in its files as it left them, for whoever wants to look. The build
	// fails when Failed returns.
	Failed func(ctx context.Context, r *RunRequest, err error)
	// KeepFailed keeps what a program has left that ended with another code than 0.
	KeepFailed bool
}

// solver is one build.
type solver struct {
	o      Options
	plan   *plan.Plan
	cache  *cache.Cache
	images *catalog.Store
	layers *snapshot.Store
	lease  *catalog.Lease
	slots  chan struct{}
	stages map[*plan.Stage]*stage
	total  int // instructions of all needed stages
	trees  *trees

	mu       sync.Mutex // guards what follows
	unsynced []made
	steps    []Step
	reads    map[oci.Digest]oci.Digest

	foretelling bool                    // no stage is worked on yet
	all         sync.WaitGroup          // of the stages at work
	staging     context.Context         // theirs
	user        context.Context         // ends when the user gives up, not when a step fails
	stop        context.CancelCauseFunc // stops all stages
	looking     atomic.Bool             // somebody looks into a step that failed
}

// note remembers a record whose layer may not be on disk yet.
func (s *solver) note(r *cache.Record) {
	if r == nil || r.Boot == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsynced = append(s.unsynced, made{r.Key, r.Layer})
}

func newSolver(p *plan.Plan, o Options) *solver {
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	s := &solver{
		o: o, plan: p, cache: cache.Open(o.DataRoot), images: catalog.Open(o.DataRoot), layers: snapshot.Open(o.DataRoot),
		slots: make(chan struct{}, o.Parallel), reads: map[oci.Digest]oci.Digest{},
	}
	s.trees = &trees{s: s, open: map[string]*opened{}}
	return s
}

// working waits until a step may work, and returns what gives its place back.
func (s *solver) working(ctx context.Context) (done func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-ctx.Done():
		return nil, cancelled(ctx)
	}
}

// cancelled is the error of what was stopped.
func cancelled(ctx context.Context) error {
	return &errdefs.Error{Kind: errdefs.Cancelled, Err: context.Cause(ctx)}
}

// skipsCache reports whether the user wants a stage done again.
func (s *solver) skipsCache(st *plan.Stage) bool {
	for _, name := range s.o.NoCacheStages {
		if name == st.Name {
			return true
		}
	}
	return s.o.NoCache
}

// permit refuses what the user has not allowed (CVE-2024-23653: a builder that
// did not check gave any Dockerfile the rights of root on the host).
func (s *solver) permit(r *plan.Run) error {
	refuse := func(what, entitlement string) error {
		return errdefs.New(errdefs.Forbidden, "%s is not allowed", what).WithHint("if you trust the Dockerfile: berth build --allow %s", entitlement)
	}
	switch {
	case r.Insecure && !s.o.AllowInsecure:
		return refuse("--security=insecure", "security.insecure")
	case r.Network == "host" && !s.o.AllowHostNetwork:
		return refuse("--network=host", "network.host")
	}
	return nil
}

// emptyState is what FROM scratch stands on.
func emptyState() state { return state{key: cache.NewKey("scratch").Sum(), digest: oci.DigestOf(nil)} }
