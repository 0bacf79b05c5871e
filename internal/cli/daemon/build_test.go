package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/image/imagetest"
	"berth/internal/oci"
)

// context writes the files of a build context.
func (h *host) context(files map[string]string) string {
	h.t.Helper()
	dir := h.t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			h.t.Fatal(err)
		}
	}
	return dir
}

// A base that is not here is pulled, and again with --pull.
func TestBuildPulls(t *testing.T) {
	h := newHost(t)
	r, addr := serve(t)
	r.Push("1", image().Build())
	dir := h.context(map[string]string{"Dockerfile": "FROM " + addr + "/base:1\nCOPY file /\n", "file": "x"})
	code, out, errs := h.run("build", "-t", "made", dir)
	if code != 0 || out != "" {
		t.Fatalf("exit code %d, stdout %q: %s", code, out, errs)
	}
	for _, want := range []string{"[internal] load metadata for " + addr + "/base:1", "extracting", "naming to docker.io/library/made:latest"} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %q in:\n%s", want, errs)
		}
	}
	blobs := r.Blobs()
	first := h.ok("build", "-q", dir)
	if r.Blobs() != blobs {
		t.Error("an image that is here was fetched again")
	}
	// The name leads to another image meanwhile; only --pull asks.
	other := image()
	other.Layers = append(other.Layers, imagetest.Layer{{Name: "c", Body: "c"}})
	r.Push("1", other.Build())
	if again := h.ok("build", "-q", dir); again != first {
		t.Error("the registry was asked without --pull")
	}
	if again := h.ok("build", "-q", "--pull", dir); again == first {
		t.Error("--pull did not take the newer image")
	}
}

func TestBuildWrongPlatform(t *testing.T) {
	h := newHost(t)
	r, addr := serve(t)
	other := image()
	other.Platform = oci.Platform{OS: "linux", Architecture: "s390x"}
	r.Push("1", other.Build())
	dir := h.context(map[string]string{"Dockerfile": "FROM " + addr + "/base:1\n"})
	code, _, errs := h.run("build", dir)
	if code != 1 || !strings.Contains(errs, "s390x") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}
