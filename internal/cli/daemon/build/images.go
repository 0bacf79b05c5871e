package build

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"berth/internal/build/cache"
	"berth/internal/build/plan"
	"berth/internal/build/progress"
	"berth/internal/engine"
	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/image/builtin"
	"berth/internal/image/catalog"
	"berth/internal/image/transfer"
	"berth/internal/oci"
	"berth/internal/reference"
	"berth/internal/storage/snapshot"
)

// Pull fetches an image, as `berth pull` does but without a word.
type Pull func(ctx context.Context, name reference.Named, o transfer.PullOptions) (transfer.Pulled, error)

// images finds the images that a Dockerfile names: those that are here, and the
// others by a pull. What it found cannot be removed until the lease is closed.
type images struct {
	catalog *catalog.Store
	layers  *snapshot.Store
	cache   *cache.Cache
	loader  *transfer.Store
	lease   *catalog.Lease
	pull    Pull
	always  bool // --pull
	several bool // platforms are built for: messages say which one is meant
	sink    progress.Sink
}

// resolve is dockerfile.Options.Resolve.
func (s *images) resolve(ctx context.Context, name string, platform oci.Platform) (*plan.Image, error) {
	full, who := name, "[internal]"
	if n, err := reference.Parse(name); err == nil {
		full = n.String()
	}
	if s.several {
		who = fmt.Sprintf("[%s internal]", platform)
	}
	v := begin(s.sink, who+" load metadata for "+full)
	img, err := s.find(ctx, v, name, platform)
	v.finish(err)
	if err != nil {
		return nil, err
	}
	if isLayout(name) {
		name = string(img.ID)
	}
	return &plan.Image{Name: name, ID: img.ID, Config: img.Config, TopLayer: img.TopLayer}, nil
}

func (s *images) find(ctx context.Context, v *vertex, name string, platform oci.Platform) (*catalog.Image, error) {
	if builtin.IsHello(name) {
		if err := s.addHello(ctx); err != nil {
			return nil, err
		}
	}
	if isLayout(name) {
		return s.fromLayout(ctx, name, platform)
	}
	named, nameErr := reference.Parse(name)
	if !s.always || nameErr != nil {
		img, err := s.use(name)
		switch {
		case err == nil && (platform.Architecture == "" || suits(img, platform)):
			return img, nil
		case err != nil && !errors.Is(err, errdefs.NotFound):
			return nil, err
		case nameErr != nil:
			return nil, fmt.Errorf("failed to parse image name %q: %w", name, nameErr)
		}
	}
	foreign := platform.Architecture != "" && !oci.HostPlatform().Runs(platform)
	if foreign && !s.always {
		if img, err := s.recall(named, platform); err != nil || img != nil {
			return img, err
		}
	}
	id, err := s.fetch(ctx, v, named, platform, foreign)
	if err == nil && foreign {
		err = s.cache.Remember(foreignKey(named, platform), id)
	}
	if err != nil {
		return nil, s.notPulled(name, platform, err)
	}
	img, err := s.lease.UseImage(id)
	if err == nil && platform.Architecture != "" && !suits(img, platform) {
		return nil, wrongPlatform(name, img, platform)
	}
	return img, err
}

// use finds an image that is here and keeps it.
func (s *images) use(ref string) (*catalog.Image, error) {
	id, err := s.catalog.Lookup(ref)
	if err != nil {
		return nil, err
	}
	return s.lease.UseImage(id)
}

// suits reports whether the image was made for a platform.
func suits(img *catalog.Image, p oci.Platform) bool { return p.Runs(platformOf(img)) }

func platformOf(img *catalog.Image) oci.Platform {
	c := &img.Config
	return oci.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}.Normalize()
}

func wrongPlatform(name string, img *catalog.Image, want oci.Platform) error {
	return errdefs.New(errdefs.NotFound, "image %s is here for %s, and not for %s", name, platformOf(img), want).
		WithHint("berth pull --platform %s %s, or build for %s with --platform", want, name, platformOf(img))
}

// notPulled says why a base image is not to be had: it is not here, and the
// registry did not give it.
func (s *images) notPulled(name string, platform oci.Platform, cause error) error {
	if img, err := s.use(name); err == nil && !s.always {
		return wrongPlatform(name, img, platform)
	}
	if errdefs.KindOf(cause) == errdefs.Cancelled {
		return cause
	}
	return &errdefs.Error{Kind: errdefs.KindOf(cause), Err: fmt.Errorf("the image %s is not here and could not be pulled: %w", name, cause),
		Hint: "'berth image ls' shows what is here; 'berth load' and 'berth import' bring images without a registry"}
}

// foreignKey is under which the cache remembers the image that a name leads to
// on a platform that is not this host's. Here a name leads to one image, and
// that is for whoever runs it.
func foreignKey(name reference.Named, p oci.Platform) oci.Digest {
	return cache.NewKey("image for platform").Add("name", name.String()).Add("platform", p.String(), p.OSVersion).Sum()
}

// recall returns the image that an earlier build pulled for a foreign platform, nil if none did.
func (s *images) recall(name reference.Named, p oci.Platform) (*catalog.Image, error) {
	id, err := s.cache.Recall(foreignKey(name, p))
	if err != nil || id == "" {
		return nil, err
	}
	img, err := s.lease.UseImage(id)
	if err != nil || !suits(img, p) {
		return nil, nil //nolint:nilerr // it was removed: it can be pulled again
	}
	return img, nil
}

// fetch pulls an image and shows each layer as a transfer of the vertex. The
// name of a foreign one goes on leading where it did.
func (s *images) fetch(ctx context.Context, v *vertex, name reference.Named, platform oci.Platform, foreign bool) (oci.Digest, error) {
	o := transfer.PullOptions{Report: v.pulling(), Unnamed: foreign}
	if platform.Architecture != "" {
		o.Platform = &platform
	}
	got, err := s.pull(ctx, name, o)
	return got.ID, err
}

// addHello makes the image that is always there.
func (s *images) addHello(ctx context.Context) error {
	exe, err := engine.Sibling("berth")
	if err != nil {
		return err
	}
	return builtin.AddHello(ctx, s.catalog, s.layers, exe, runtime.GOARCH)
}

// vertex is a piece of work of the command line itself, shown like a step.
type vertex struct {
	sink progress.Sink
	id   oci.Digest
}

// begin starts a vertex of the given name.
func begin(sink progress.Sink, name string) *vertex {
	v := &vertex{sink, oci.DigestOf([]byte("berth build " + name))}
	sink.Send(&progress.Started{Vertex: progress.Vertex{ID: v.id, Name: name}, Time: time.Now()})
	return v
}

// moved says that a part of the vertex is done: n bytes, 0 if they do not count.
func (v *vertex) moved(what string, n int64) {
	now := time.Now()
	v.sink.Send(&progress.Transfer{ID: v.id, Name: what, Current: n, Completed: now, Time: now})
}

func (v *vertex) finish(err error) {
	v.sink.Send(&progress.Finished{ID: v.id, Err: err, Time: time.Now()})
}

// pulling turns the events of a pull into transfers of the vertex.
func (v *vertex) pulling() transfer.Report {
	var mu sync.Mutex
	begun := map[string]time.Time{}
	return func(e transfer.Event) {
		if e.ID == "" {
			return
		}
		name := ident.Short(e.ID)
		switch e.Status {
		case transfer.Downloading, transfer.Downloaded:
		case transfer.Extracting, transfer.Complete:
			name = "extracting " + name
		default:
			return
		}
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		if begun[name].IsZero() {
			begun[name] = now
		}
		t := &progress.Transfer{ID: v.id, Name: name, Current: e.Current, Total: e.Total, Started: begun[name], Time: now}
		if e.Status == transfer.Downloaded || e.Status == transfer.Complete {
			t.Completed = now
		}
		v.sink.Send(t)
	}
}
