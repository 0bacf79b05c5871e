package transfer

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/image/imagetest"
	"berth/internal/oci"
	"berth/internal/reference"
)

// pack runs a program of the host over data.
func pack(t *testing.T, data []byte, program string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImport(t *testing.T) {
	l := three().Layers[0]
	plain := l.Tar()
	for name, packed := range map[string]func(t *testing.T) []byte{
		"plain": func(*testing.T) []byte { return plain },
		"gzip":  func(*testing.T) []byte { return imagetest.Gzip.Compress(plain) },
		"gzip in two parts": func(*testing.T) []byte {
			return append(imagetest.Gzip.Compress(plain[:700]), imagetest.Gzip.Compress(plain[700:])...)
		},
		"zstd":  func(*testing.T) []byte { return imagetest.Zstd.Compress(plain) },
		"xz":    func(t *testing.T) []byte { return pack(t, plain, "xz", "-c") },
		"bzip2": func(t *testing.T) []byte { return pack(t, plain, "bzip2", "-c") },
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			now := imagetest.Epoch().Add(time.Hour)
			s.now = func() time.Time { return now }
			id, err := s.Import(t.Context(), bytes.NewReader(packed(t)), ImportOptions{
				Name: named(t, "tools:1"), Changes: []string{`CMD ["/bin/sh"]`, "ENV A=b", "USER 1000"},
			})
			if err != nil {
				t.Fatal(err)
			}
			img, err := s.images.Resolve("tools:1")
			if err != nil || img.ID != id {
				t.Fatalf("%v, %v", img, err)
			}
			c := img.Config
			if c.Config.Cmd[0] != "/bin/sh" || c.Config.User != "1000" || c.Config.Env[0] != "A=b" || !c.Created.Equal(now) || c.OS != "linux" ||
				c.Comment != "Imported from -" || len(c.History) != 1 || c.History[0].Comment != c.Comment || len(c.RootFS.DiffIDs) != 1 || c.RootFS.DiffIDs[0] != oci.DigestOf(plain) {
				t.Errorf("%+v", c)
			}
			got, err := os.ReadFile(filepath.Join(s.layers.Diff(img.TopLayer), "etc/a"))
			if err != nil || string(got) != "1" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func TestImportRefuses(t *testing.T) {
	plain := three().Layers[0].Tar()
	for name, c := range map[string]struct {
		data    []byte
		o       ImportOptions
		wantErr string
	}{
		"empty":        {nil, ImportOptions{}, "empty"},
		"rubbish":      {[]byte(strings.Repeat("rubbish ", 1000)), ImportOptions{}, "cannot import archive"},
		"cut off":      {imagetest.Gzip.Compress(plain)[:100], ImportOptions{}, "unexpected EOF"},
		"wrong change": {plain, ImportOptions{Changes: []string{"RUN true"}}, "RUN true"},
		"digest":       {plain, ImportOptions{Name: reference.Named{}.WithDigest(oci.DigestOf(nil))}, "cannot import digest reference"},
		"escape":       {imagetest.Layer{imagetest.Symlink("a", "/"), {Name: "../../evil", Body: "x"}, {Name: "a/b/../../..", Body: "x"}}.Tar(), ImportOptions{}, ""},
		"bomb":         {imagetest.Zstd.Compress(imagetest.Layer{{Name: "z", Body: strings.Repeat("\x00", 100<<20)}}.Tar()), ImportOptions{}, "times the compressed size"},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			id, err := s.Import(t.Context(), bytes.NewReader(c.data), c.o)
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("%v, %v; want %q", id, err, c.wantErr)
			}
			checkEmpty(t, s)
		})
	}
}
