package build

import (
	"context"
	"os"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/image/catalog"
	"berth/internal/image/transfer"
	"berth/internal/oci"
)

// layoutScheme begins a build context that is an image of an OCI layout, a
// directory: "oci-layout://DIR[:TAG][@DIGEST]".
const layoutScheme = "oci-layout://"

func isLayout(name string) bool { return strings.HasPrefix(name, layoutScheme) }

// splitLayout separates the directory from the tag or the id that is wanted of it.
func splitLayout(place string) (dir, want string) {
	i := strings.LastIndexAny(place, ":@")
	if i <= strings.LastIndexByte(place, '/') {
		return place, ""
	}
	return strings.TrimSuffix(place[:i], "@sha256"), place[i+1:]
}

func checkLayout(place string) error {
	dir, _ := splitLayout(place)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return errdefs.New(errdefs.NotFound, "path %q not found", dir)
	}
	return nil
}

// fromLayout stores the image of an OCI layout for a platform, without a name.
func (s *images) fromLayout(ctx context.Context, name string, platform oci.Platform) (*catalog.Image, error) {
	dir, want := splitLayout(strings.TrimPrefix(name, layoutScheme))
	o := transfer.LoadOptions{Unnamed: true}
	if platform.Architecture != "" {
		o.Platform = &platform
	}
	loaded, err := s.loader.LoadDir(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	for _, l := range loaded {
		if want == "" || l.Name.Tag() == want || strings.HasPrefix(l.ID.Hex(), want) {
			return s.lease.UseImage(l.ID)
		}
	}
	return nil, errdefs.New(errdefs.NotFound, "the layout %s has no image %q", dir, want)
}
