package daemon

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/internal/cli/streams"
	"berth/internal/image/catalog"
	"berth/internal/image/imagetest"
	"berth/internal/oci"
)

// host is a test's data root and its berthd.
type host struct {
	t    *testing.T
	root string
	in   []byte
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("layers need root")
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return &host{t: t, root: t.TempDir()}
}

func (h *host) run(args ...string) (code int, out, errs string) {
	h.t.Helper()
	var o, e bytes.Buffer
	args = append([]string{"--data-root", h.root + "/data", "--state-root", h.root + "/state"}, args...)
	code = Main(context.Background(), args, &streams.Streams{In: bytes.NewReader(h.in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

// ok runs a command that must succeed.
func (h *host) ok(args ...string) string {
	h.t.Helper()
	code, out, errs := h.run(args...)
	if code != 0 {
		h.t.Fatalf("%q: exit code %d: %s", args, code, errs)
	}
	return out
}

func image(names ...string) imagetest.Image {
	return imagetest.Image{Names: names, Layers: []imagetest.Layer{{{Name: "a", Body: "a"}}, {{Name: "b", Body: "b"}}}}
}

func serve(t *testing.T) (*imagetest.Registry, string) {
	t.Helper()
	r := imagetest.NewRegistry()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return r, strings.TrimPrefix(s.URL, "http://")
}

func TestPull(t *testing.T) {
	h := newHost(t)
	r, addr := serve(t)
	b := image().Build()
	r.Push("latest", b)
	digest := string(oci.DigestOf(b.ManifestDoc))
	out := h.ok("pull", addr+"/team/app")
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	for i, want := range []string{"Using default tag: latest", "latest: Pulling from team/app"} {
		if lines[i] != want {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	end := strings.Join(lines[len(lines)-3:], "\n")
	if want := "Digest: " + digest + "\nStatus: Downloaded newer image for " + addr + "/team/app:latest\n" + addr + "/team/app:latest"; end != want {
		t.Errorf("ends %q, want %q", end, want)
	}
	for _, d := range b.Manifest.Layers {
		id := d.Digest.Hex()[:12]
		want := regexp.MustCompile(`(?s)` + id + `: Pulling fs layer\n.*` + id + `: Verifying Checksum\n.*` + id + `: Download complete\n.*` + id + `: Pull complete\n`)
		if !want.MatchString(out) {
			t.Errorf("layer %s: %s", id, out)
		}
	}
	if strings.Contains(out, "\x1b") || strings.Contains(out, "[=") {
		t.Errorf("a bar without a terminal: %q", out)
	}

	blobs := r.Blobs()
	out = h.ok("pull", addr+"/team/app:latest")
	if want := "latest: Pulling from team/app\nDigest: " + digest + "\nStatus: Image is up to date for " + addr + "/team/app:latest\n" + addr + "/team/app:latest\n"; out != want {
		t.Errorf("second pull: %q", out)
	}
	if r.Blobs() != blobs {
		t.Error("the second pull fetched blobs")
	}
	if out := h.ok("pull", "-q", addr+"/team/app"); out != addr+"/team/app:latest\n" {
		t.Errorf("-q: %q", out)
	}
	if out := h.ok("pull", "--for-run", addr+"/team/app"); !strings.HasPrefix(out, "latest: Pulling from") || !strings.HasSuffix(out, "Status: Image is up to date for "+addr+"/team/app:latest\n") {
		t.Errorf("--for-run: %q", out)
	}
	if out := h.ok("pull", addr+"/team/app@"+digest); !strings.HasPrefix(out, digest+": Pulling from team/app\n") || !strings.HasSuffix(out, "\n"+addr+"/team/app@"+digest+"\n") {
		t.Errorf("by digest: %q", out)
	}
}

func TestPullAllTags(t *testing.T) {
	h := newHost(t)
	r, addr := serve(t)
	r.Push("1", image().Build())
	two := image()
	two.Layers = two.Layers[:1]
	r.Push("2", two.Build())
	out := h.ok("pull", "-a", addr+"/app")
	if !strings.HasSuffix(out, "Status: Downloaded newer image for "+addr+"/app\n"+addr+"/app\n") || strings.Count(out, "Digest: ") != 2 {
		t.Error(out)
	}
	names, err := catalog.Open(h.root + "/data").Names()
	if err != nil || names[addr+"/app"][addr+"/app:1"] == "" || names[addr+"/app"][addr+"/app:2"] == "" {
		t.Errorf("%v, %v", names, err)
	}
}

func TestPullErrors(t *testing.T) {
	h := newHost(t)
	r, addr := serve(t)
	other := image()
	other.Platform = oci.Platform{OS: "linux", Architecture: "s390x"}
	r.PushDocument("multi", oci.MediaTypeIndex, imagetest.Index(false, other.Build()))
	for _, c := range []struct {
		args []string
		code int
		errs string
	}{
		{[]string{"pull", addr + "/app:none"}, 1, "berth: manifest for " + addr + "/app:none not found: manifest unknown: manifest unknown\n"},
		{[]string{"pull", "--platform", "linux/mips", addr + "/app:multi"}, 1, "berth: no matching manifest for linux/mips in the manifest list entries\nhint: the image is there for linux/s390x; choose one with --platform\n"},
		{[]string{"pull", "a b"}, 1, "berth: invalid reference format\n"},
		{[]string{"pull", "UPPER"}, 1, "berth: invalid reference format: repository name (library/UPPER) must be lowercase\n"},
		{[]string{"pull", "-a", addr + "/app:1"}, 1, "berth: tag can't be used with --all-tags/-a\n"},
		{[]string{"pull", "--platform", "a/b/c/d", addr + "/app"}, 1, "berth: \"a/b/c/d\" is an invalid platform\n"},
		{[]string{"pull"}, 1, "berth: 'berth pull' requires 1 argument\n"},
		{[]string{"pull", "--bogus"}, 125, "berth: unknown flag: --bogus\nhint: see 'berth pull --help'\n"},
		{[]string{"frobnicate"}, 1, "berth: unknown command: berthd frobnicate\n"},
		{[]string{"load", "-i", h.root + "/none"}, 1, "berth: stat " + h.root + "/none: no such file or directory\n"},
		{[]string{"import", h.root}, 1, "berth: cannot import " + h.root + ": it is a directory\n"},
		{[]string{"import", "http://" + addr + "/v2/x/blobs/none"}, 1, "berth: cannot import http://" + addr + "/v2/x/blobs/none: the server answers 404 Not Found\n"},
	} {
		code, _, errs := h.run(c.args...)
		if code != c.code || !strings.HasPrefix(errs, c.errs) {
			t.Errorf("%q: exit code %d, %q; want %d, %q", c.args, code, errs, c.code, c.errs)
		}
	}
	t.Setenv("DOCKER_CONFIG", filepath.Join(h.root, "broken"))
	if err := os.MkdirAll(filepath.Join(h.root, "broken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.root, "broken", "config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := h.run("pull", addr+"/app"); code != 1 || !strings.Contains(errs, "cannot read credentials from") {
		t.Errorf("%d, %q", code, errs)
	}
}

func TestLoad(t *testing.T) {
	h := newHost(t)
	b := image("team/app:1").Build()
	h.in = imagetest.DockerArchive(b)
	if out := h.ok("load"); out != "Loaded image: team/app:1\n" {
		t.Errorf("stdin: %q", out)
	}
	path := filepath.Join(h.root, "archive")
	if err := os.WriteFile(path, imagetest.Gzip.Compress(imagetest.OCIArchive(imagetest.OCIFiles(image().Build()))), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := h.ok("load", "-i", path); out != "Loaded image ID: "+string(image().Build().ID())+"\n" {
		t.Errorf("file: %q", out)
	}
	next := image("team/app:1")
	next.Layers = next.Layers[:1]
	dir := filepath.Join(h.root, "layout")
	if err := imagetest.WriteFiles(dir, imagetest.OCIFiles(next.Build())); err != nil {
		t.Fatal(err)
	}
	want := "The image team/app:1 already exists, renaming the old one with ID " + string(b.ID()) + " to empty string\nLoaded image: team/app:1\n"
	if out := h.ok("load", "-i", dir); out != want {
		t.Errorf("directory: %q", out)
	}
}

func TestImport(t *testing.T) {
	h := newHost(t)
	root := imagetest.Layer{{Name: "a", Body: "a"}}.Tar()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(imagetest.Gzip.Compress(root)) }))
	defer web.Close()
	path := filepath.Join(h.root, "root.tar")
	if err := os.WriteFile(path, root, 0o600); err != nil {
		t.Fatal(err)
	}
	h.in = root
	for _, source := range []string{"-", path, web.URL + "/root.tar.gz"} {
		out := h.ok("import", "-c", `ENTRYPOINT ["/a"]`, "-m", "made here", "--platform", "linux/arm64", source, "tools")
		img, err := catalog.Open(h.root + "/data").Resolve("tools:latest")
		if err != nil || out != string(img.ID)+"\n" {
			t.Fatalf("%s: %q, %v", source, out, err)
		}
		if c := img.Config; c.Config.Entrypoint[0] != "/a" || c.Comment != "made here" || c.Architecture != "arm64" {
			t.Errorf("%s: %+v", source, c)
		}
	}
}
