package transfer

import (
	"testing"

	"berth/internal/image/imagetest"
	"berth/internal/oci"
)

// An image for a foreign platform is there by its digest, and the name goes on
// leading to the one of this host.
func TestUnnamed(t *testing.T) {
	host, other := three(), three()
	other.Platform = oci.Platform{OS: "linux", Architecture: "s390x"}
	a, b := host.Build(), other.Build()
	s, src := store(t), repository(a, b)
	src.tag("multi", oci.MediaTypeIndex, imagetest.Index(false, b, a))
	ref := named(t, "team/app:multi")
	foreign := PullOptions{Platform: &other.Platform, Unnamed: true}
	pull := func(o PullOptions, want *imagetest.Built) {
		t.Helper()
		if got, err := s.Pull(t.Context(), src, ref, o); err != nil || got.ID != want.ID() {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	pull(foreign, b)
	if id, err := s.images.Lookup("team/app:multi"); err == nil {
		t.Errorf("the name leads to %s", id)
	}
	pull(PullOptions{}, a)
	for range 2 {
		pull(foreign, b)
		for name, want := range map[string]*imagetest.Built{"team/app:multi": a, "team/app@" + string(oci.DigestOf(b.ManifestDoc)): b} {
			if id, err := s.images.Lookup(name); err != nil || id != want.ID() {
				t.Errorf("%s leads to %s, %v", name, id, err)
			}
		}
	}
	// The same of an archive: who loads it is told the names.
	other.Names = []string{"loaded:1"}
	b = other.Build()
	got, err := loadBytes(t, s, imagetest.OCIArchive(imagetest.OCIFiles(b)), LoadOptions{Platform: &other.Platform, Unnamed: true})
	if err != nil || len(got) != 1 || got[0].Name.Familiar() != "loaded:1" || got[0].ID != b.ID() {
		t.Fatalf("%+v, %v", got, err)
	}
	if id, err := s.images.Lookup("loaded:1"); err == nil {
		t.Errorf("the name leads to %s", id)
	}
}
