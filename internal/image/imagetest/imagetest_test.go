package imagetest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/oci"
)

// TestSkopeoReads holds the forms to another tool's reading of them.
func TestSkopeoReads(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	i := Image{Names: []string{"team/app:1"}, Layers: []Layer{{{Name: "a", Body: "a"}}, {{Name: "b", Body: "b"}}, {{Name: "a", Body: "a"}}}}
	dir := t.TempDir()
	for _, c := range []struct {
		name, source string
		data         []byte
	}{
		{"docker-archive", "docker-archive:", DockerArchive(i.Build())},
		{"legacy", "docker-archive:", LegacyDockerArchive(i.Build())},
		{"oci-archive", "oci-archive:", OCIArchive(OCIFiles(i.Build()))},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(skopeo, "inspect", "--config", "--raw", c.source+path).CombinedOutput()
		if err != nil || !bytes.Equal(bytes.TrimSpace(out), i.Build().ConfigDoc) {
			t.Errorf("%s: %v\n%s", c.name, err, out)
		}
	}
}

func TestBuildIsConsistent(t *testing.T) {
	for _, docker := range []bool{false, true} {
		for _, c := range []Compression{Gzip, Zstd, Plain} {
			b := Image{Layers: []Layer{{{Name: "a", Body: strings.Repeat("a", 10000)}}}, Compression: c, Docker: docker}.Build()
			m, err := oci.ParseManifest(b.ManifestDoc, b.Descriptor().MediaType)
			if err != nil || m.Config.Digest != b.ID() || m.Layers[0].Digest != oci.DigestOf(b.Blobs[0]) {
				t.Errorf("%+v, %v", m, err)
			}
			config, err := oci.ParseConfig(b.ConfigDoc)
			if err != nil || config.RootFS.DiffIDs[0] != oci.DigestOf(b.Tars[0]) {
				t.Errorf("%+v, %v", config, err)
			}
		}
	}
	a := Image{}.Build()
	if x, err := oci.ParseIndex(Index(true, a), ""); err != nil || x.Manifests[0].Digest != oci.DigestOf(a.ManifestDoc) {
		t.Errorf("%+v, %v", x, err)
	}
}

func TestBusybox(t *testing.T) {
	i, err := Busybox("busybox:latest")
	if err != nil {
		t.Skip(err)
	}
	if b := i.Build(); len(b.Tars) != 5 || len(b.Tars[1]) < 100_000 {
		t.Fatal("not five layers")
	}
}
