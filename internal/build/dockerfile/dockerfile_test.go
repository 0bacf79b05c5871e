package dockerfile

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// images are the images that exist in tests. Every other name is not found.
func images() map[string]oci.ImageConfig {
	base := func(c oci.RunConfig) oci.ImageConfig {
		return oci.ImageConfig{
			OS: "linux", Architecture: "amd64", Config: c,
			RootFS:  oci.RootFS{Type: "layers", DiffIDs: []oci.Digest{oci.DigestOf([]byte("layer"))}},
			History: []oci.History{{CreatedBy: "ADD rootfs.tar / # buildkit"}},
		}
	}
	return map[string]oci.ImageConfig{
		"debian:12": base(oci.RunConfig{Cmd: []string{"bash"}, Env: []string{"PATH=/usr/bin:/bin"}}),
		"alpine":    base(oci.RunConfig{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/usr/local/bin:/bin"}}),
		"golang:1.26": base(oci.RunConfig{
			Env: []string{"PATH=/go/bin:/usr/local/go/bin:/usr/bin:/bin", "GOLANG_VERSION=1.26.8", "GOPATH=/go"}, WorkingDir: "/go",
		}),
		"node:22":      base(oci.RunConfig{Env: []string{"PATH=/usr/local/bin:/bin", "NODE_VERSION=22.1.0"}, Entrypoint: []string{"docker-entrypoint.sh"}, Cmd: []string{"node"}}),
		"web":          base(oci.RunConfig{Env: []string{"PATH=/bin", "ROOT=/srv"}, User: "www", WorkingDir: "/srv", Shell: []string{"/bin/ash", "-ec"}, Labels: map[string]string{"tier": "web"}}),
		"nopath":       base(oci.RunConfig{Env: []string{"A=1"}}),
		"trigger":      base(oci.RunConfig{Env: []string{"PATH=/bin"}, OnBuild: []string{"COPY . /app", "RUN make -C /app"}}),
		"trigger-from": base(oci.RunConfig{Env: []string{"PATH=/bin"}, OnBuild: []string{"COPY --from=assets /out /app"}}),
		"trigger-bad":  base(oci.RunConfig{Env: []string{"PATH=/bin"}, OnBuild: []string{"RNU make"}}),
		"trigger-two":  base(oci.RunConfig{Env: []string{"PATH=/bin"}, OnBuild: []string{"RUN a\nRUN b"}}),
	}
}

// resolver answers from images, and notes what was asked.
type resolver struct {
	mu    sync.Mutex
	asked map[string]bool
}

// names returns the images asked for, in the order of images' text in the test.
func (r *resolver) names() string {
	order := []string{"missing", "golang:1.26", "alpine", "debian:12", "node:22"}
	return strings.Join(slices.DeleteFunc(order, func(n string) bool { return !r.asked[n+" linux/amd64"] }), " ")
}

func (r *resolver) resolve(_ context.Context, name string, p oci.Platform) (*plan.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[string]bool{}
	}
	key := name + " " + p.String()
	if r.asked[key] {
		return nil, errdefs.New(errdefs.Internal, "%s was asked for twice", key)
	}
	r.asked[key] = true
	c, ok := images()[name]
	if !ok {
		return nil, errdefs.New(errdefs.NotFound, "image %s", name).WithHint("berth pull %s", name)
	}
	return &plan.Image{Name: name, ID: oci.DigestOf([]byte(name)), Config: c, TopLayer: "top-" + name}, nil
}

func testOptions() Options {
	return Options{BuildPlatform: oci.Platform{OS: "linux", Architecture: "amd64"}, Resolve: (&resolver{}).resolve}
}

func makePlan(text string, o Options) (*plan.Plan, error) {
	f, err := Parse("Dockerfile", []byte(text))
	if err != nil {
		return nil, err
	}
	return f.Plan(context.Background(), o)
}

func mustPlan(t *testing.T, text string, o Options) *plan.Plan {
	t.Helper()
	p, err := makePlan(text, o)
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.TrimSpace(text))
	}
	return p
}
