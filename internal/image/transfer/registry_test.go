package transfer

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/image/imagetest"
	"berth/internal/image/registry"
	"berth/internal/oci"
	"berth/internal/reference"
)

// live is Debian's docker-registry on a port of its own, behind a proxy that
// keeps a list of what is asked.
type live struct {
	addr string // of the registry
	seen *httptest.Server

	mu    sync.Mutex
	asked []string
}

func startRegistry(t *testing.T) *live {
	t.Helper()
	for _, program := range []string{"docker-registry", "skopeo"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &live{addr: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", dir, r.addr)
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("docker-registry", "serve", path)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // as above
	})
	r.await(t, &log)
	target := &url.URL{Scheme: "http", Host: r.addr}
	proxy := httputil.NewSingleHostReverseProxy(target)
	r.seen = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.asked = append(r.asked, req.Method+" "+req.URL.Path)
		r.mu.Unlock()
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(r.seen.Close)
	return r
}

func (r *live) await(t *testing.T, log *bytes.Buffer) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + r.addr + "/v2/")
		if err == nil {
			resp.Body.Close()
			return
		}
	}
	t.Fatalf("docker-registry does not answer: %s", log.String())
}

// push has skopeo copy source ("docker-archive:PATH") to the registry.
func (r *live) push(t *testing.T, source, name string, args ...string) {
	t.Helper()
	args = append([]string{"copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"}, args...)
	out, err := exec.Command("skopeo", append(args, source, "docker://"+r.addr+"/"+name)...).CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo %v: %v\n%s", args, err, out)
	}
}

// host is where to pull from, as it stands before a name.
func (r *live) host() string { return strings.TrimPrefix(r.seen.URL, "http://") }

func (r *live) pull(t *testing.T, s *Store, name string, o PullOptions) (Pulled, error) {
	t.Helper()
	ref := named(t, r.host()+"/"+name)
	src, err := registry.Open(t.Context(), ref, registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Pull(t.Context(), src, ref, o)
}

// take returns what was asked since the last call.
func (r *live) take() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list, r.asked = r.asked, nil
	return list
}

// TestRealRegistry gives each case a registry of its own: skopeo remembers, for
// all its runs, in what form it once pushed a layer to a registry, and offers a
// zstd layer again to a manifest of a type that has no zstd.
func TestRealRegistry(t *testing.T) {
	img, err := imagetest.Busybox("busybox:latest")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	b := img.Build()
	archive := filepath.Join(dir, "busybox.tar")
	if err := os.WriteFile(archive, imagetest.DockerArchive(b), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
	}{
		{"docker", []string{"--format", "v2s2"}},
		{"oci", []string{"--format", "oci"}},
		{"zstd", []string{"--format", "oci", "--dest-compress-format", "zstd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startRegistry(t)
			r.push(t, "docker-archive:"+archive, c.name+":1", c.args...)
			testRealPulls(t, r, c.name, b)
		})
	}
	t.Run("errors", func(t *testing.T) {
		r := startRegistry(t)
		r.push(t, "docker-archive:"+archive, "app:1")
		_, err := r.pull(t, store(t), "app:2", PullOptions{})
		if want := "manifest for " + r.host() + "/app:2 not found: manifest unknown: manifest unknown"; err == nil || err.Error() != want || errdefs.KindOf(err) != errdefs.NotFound {
			t.Errorf("%v\nwant %s", err, want)
		}
		_, err = r.pull(t, store(t), "app@"+string(oci.DigestOf(nil)), PullOptions{})
		if err == nil || !strings.Contains(err.Error(), "manifest unknown") {
			t.Error(err)
		}
	})
	t.Run("index", func(t *testing.T) { testRealIndex(t, startRegistry(t), dir) })
}

// testRealPulls pulls repository:1 twice, and then by its digest.
func testRealPulls(t *testing.T, r *live, repository string, b *imagetest.Built) {
	s, name := store(t), repository+":1"
	got, err := r.pull(t, s, name, PullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := s.images.Resolve(r.host() + "/" + name)
	if err != nil || stored.ID != got.ID || len(stored.Config.RootFS.DiffIDs) != 5 {
		t.Fatalf("%+v, %v", stored, err)
	}
	for i, d := range stored.Config.RootFS.DiffIDs {
		if d != b.DiffIDs[i] {
			t.Errorf("layer %d is %s, want %s", i, d, b.DiffIDs[i])
		}
	}
	r.take()
	got, err = r.pull(t, s, name, PullOptions{})
	if err != nil || got.Newer {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, req := range r.take() {
		if strings.Contains(req, "/blobs/") || strings.HasPrefix(req, "GET") && !strings.HasSuffix(req, "/v2/") {
			t.Errorf("the second pull asked %s", req)
		}
	}
	if _, err := r.pull(t, store(t), repository+"@"+string(got.Digest), PullOptions{}); err != nil {
		t.Error(err)
	}
}

func testRealIndex(t *testing.T, r *live, dir string) {
	host, other := three(), three()
	host.Names, other.Names = nil, nil
	other.Platform = oci.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}
	a, b := host.Build(), other.Build()
	files := imagetest.OCIFiles(a, b)
	x := imagetest.Index(false, a, b)
	files["blobs/sha256/"+oci.DigestOf(x).Hex()] = x
	files["index.json"] = imagetest.JSON(oci.Index{SchemaVersion: 2, Manifests: []oci.Descriptor{imagetest.Descriptor(oci.MediaTypeIndex, x)}})
	layout := filepath.Join(dir, "layout")
	if err := imagetest.WriteFiles(layout, files); err != nil {
		t.Fatal(err)
	}
	r.push(t, "oci:"+layout, "multi:1", "--all")
	for platform, want := range map[string]*imagetest.Built{oci.HostPlatform().String(): a, "linux/arm/v7": b} {
		p, err := oci.ParsePlatform(platform)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.pull(t, store(t), "multi:1", PullOptions{Platform: &p})
		if err != nil || got.ID != want.ID() || got.Digest != oci.DigestOf(x) {
			t.Errorf("%s: %+v, %v", platform, got, err)
		}
	}
}

// TestKilledPull kills a pulling process at many moments. Whatever it leaves,
// the next pull works and a garbage collection takes the rest away.
func TestKilledPull(t *testing.T) {
	if root := os.Getenv("BERTH_TEST_PULL_INTO"); root != "" {
		pullSlowly(root)
		return
	}
	s := store(t)
	root := filepath.Dir(filepath.Dir(s.images.Dir()))
	for i := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledPull$")
		cmd.Env = append(os.Environ(), "BERTH_TEST_PULL_INTO="+root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(10+25*i) * time.Millisecond)
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // as above
		if i == 5 {
			checkLeftovers(t, s)
		}
	}
	b := three().Build()
	if _, err := s.Pull(t.Context(), repository(b), named(t, "a:1"), PullOptions{}); err != nil {
		t.Fatal(err)
	}
	checkImage(t, s, "a:1", b)
	checkLeftovers(t, s)
	checkImage(t, s, "a:1", b)
}

// pullSlowly is the process that is killed.
func pullSlowly(root string) {
	b := three().Build()
	src := repository(b)
	src.body = slow
	ref, err := reference.Parse("a:1")
	if err == nil {
		_, err = New(root, 0).Pull(context.Background(), src, ref, PullOptions{})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// checkLeftovers collects garbage and looks for drafts, temporary files and locks.
func checkLeftovers(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.images.SweepDownloads(time.Now()); err != nil {
		t.Error(err)
	}
	collect(t, s)
	for _, dir := range []string{s.layers.Dir(), s.images.PartialDir(), s.images.TransferLockDir(), s.images.Dir() + "/layerdb/sha256", s.images.Dir() + "/.leases"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".") && !strings.HasSuffix(e.Name(), ".lock") || dir == s.images.PartialDir() || dir == s.images.TransferLockDir() || strings.HasSuffix(dir, ".leases") {
				t.Errorf("left: %s/%s", dir, e.Name())
			}
		}
	}
}
