package dockerfile

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"

	"berth/internal/build/plan"
	"berth/internal/errdefs"
	"berth/internal/oci"
)

// images are the images that exist in tests (testdata/images.json). Every other
// name is not found.
var images = sync.OnceValue(func() map[string]oci.ImageConfig {
	text, err := os.ReadFile("testdata/images.json")
	if err != nil {
		panic(err)
	}
	var list map[string]oci.ImageConfig
	if err := json.Unmarshal(text, &list); err != nil {
		panic(err)
	}
	return list
})

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
