package transfer

import (
	"archive/tar"
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"berth/internal/errdefs"
	"berth/internal/image/imagetest"
	"berth/internal/oci"
)

// loadBytes loads an archive once from a file and once from a pipe.
func loadBytes(t *testing.T, s *Store, archive []byte, o LoadOptions) ([]Loaded, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "archive")
	if err := os.WriteFile(path, archive, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	loaded, err := s.Load(t.Context(), f, o)
	again, err2 := s.Load(t.Context(), bytes.NewBuffer(archive), o)
	if (err == nil) != (err2 == nil) || len(loaded) != len(again) {
		t.Errorf("from a file: %v, %v; from a pipe: %v, %v", loaded, err, again, err2)
	}
	return loaded, err
}

func TestLoad(t *testing.T) {
	img := three()
	img.Names = []string{"team/app:1", "other:latest"}
	img.Layers = append(img.Layers, img.Layers[0]) // a layer twice
	b := img.Build()
	dockerTypes := img
	dockerTypes.Docker = true
	for name, archive := range map[string][]byte{
		"docker-archive":       imagetest.DockerArchive(b),
		"legacy with symlinks": imagetest.LegacyDockerArchive(b),
		"OCI archive":          imagetest.OCIArchive(imagetest.OCIFiles(b)),
		"OCI archive, Docker":  imagetest.OCIArchive(imagetest.OCIFiles(dockerTypes.Build())),
		"gzip":                 imagetest.Gzip.Compress(imagetest.DockerArchive(b)),
		"zstd":                 imagetest.Zstd.Compress(imagetest.OCIArchive(imagetest.OCIFiles(b))),
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			loaded, err := loadBytes(t, s, archive, LoadOptions{})
			if err != nil || len(loaded) != 2 || loaded[0].Name.Familiar() != "team/app:1" || loaded[1].Name.Familiar() != "other:latest" {
				t.Fatalf("%+v, %v", loaded, err)
			}
			checkImage(t, s, "team/app:1", b)
			checkImage(t, s, "other", b)
		})
	}
	t.Run("directory", func(t *testing.T) {
		s, dir := store(t), t.TempDir()
		if err := imagetest.WriteFiles(dir, imagetest.OCIFiles(b)); err != nil {
			t.Fatal(err)
		}
		if loaded, err := s.LoadDir(t.Context(), dir, LoadOptions{}); err != nil || len(loaded) != 2 {
			t.Fatalf("%+v, %v", loaded, err)
		}
		checkImage(t, s, "team/app:1", b)
	})
}

func TestLoadWithoutName(t *testing.T) {
	img := three()
	img.Names = nil
	for _, archive := range [][]byte{imagetest.DockerArchive(img.Build()), imagetest.OCIArchive(imagetest.OCIFiles(img.Build()))} {
		s := store(t)
		loaded, err := loadBytes(t, s, archive, LoadOptions{})
		if err != nil || len(loaded) != 1 || loaded[0].Name.Name() != "" || loaded[0].ID != img.Build().ID() {
			t.Fatalf("%+v, %v", loaded, err)
		}
	}
}

func TestLoadTwoImages(t *testing.T) {
	one, two := three(), three()
	two.Names, two.Layers = []string{"two:2"}, two.Layers[:1]
	s := store(t)
	loaded, err := loadBytes(t, s, imagetest.DockerArchive(one.Build(), two.Build()), LoadOptions{})
	if err != nil || len(loaded) != 2 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	checkImage(t, s, "team/app:1", one.Build())
	checkImage(t, s, "two:2", two.Build())

	one.Layers = one.Layers[:2] // another image takes the name
	loaded, err = s.Load(t.Context(), bytes.NewReader(imagetest.DockerArchive(one.Build())), LoadOptions{})
	if err != nil || len(loaded) != 1 || loaded[0].Old != three().Build().ID() {
		t.Fatalf("%+v, %v", loaded, err)
	}
}

func TestLoadPlatform(t *testing.T) {
	host, other := three(), three()
	other.Platform = oci.Platform{OS: "linux", Architecture: "s390x"}
	a, b := host.Build(), other.Build()
	nested := imagetest.OCIFiles(a, b)
	x := imagetest.Index(false, a, b)
	nested["blobs/sha256/"+oci.DigestOf(x).Hex()] = x
	d := imagetest.Descriptor(oci.MediaTypeIndex, x)
	d.Annotations = map[string]string{"org.opencontainers.image.ref.name": "team/app:1"}
	nested["index.json"] = imagetest.JSON(oci.Index{SchemaVersion: 2, Manifests: []oci.Descriptor{d}})
	for name, files := range map[string]map[string][]byte{"flat": imagetest.OCIFiles(b, a), "nested": nested} {
		s := store(t)
		loaded, err := loadBytes(t, s, imagetest.OCIArchive(files), LoadOptions{})
		if err != nil || len(loaded) != 1 || loaded[0].ID != a.ID() {
			t.Fatalf("%s: %+v, %v", name, loaded, err)
		}
		loaded, err = loadBytes(t, s, imagetest.OCIArchive(files), LoadOptions{Platform: &other.Platform})
		if err != nil || len(loaded) != 1 || loaded[0].ID != b.ID() {
			t.Fatalf("%s: %+v, %v", name, loaded, err)
		}
		p := oci.Platform{OS: "linux", Architecture: "mips"}
		if _, err = loadBytes(t, s, imagetest.OCIArchive(files), LoadOptions{Platform: &p}); !errors.Is(err, errdefs.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLoadV1 loads what Docker wrote before version 1.10.
func TestLoadV1(t *testing.T) {
	base, top := strings.Repeat("a", 64), strings.Repeat("b", 64)
	l := three().Layers
	archive := imagetest.Layer{
		imagetest.Dir(base + "/"), {Name: base + "/json", Body: `{"id":"` + base + `","created":"2015-01-02T03:04:05Z","container_config":{"Cmd":["/bin/sh","-c","one"]}}`},
		{Name: base + "/layer.tar", Body: string(l[0].Tar())},
		{Name: top + "/json", Body: `{"id":"` + top + `","parent":"` + base + `","created":"2015-01-02T03:04:06Z","architecture":"amd64","os":"linux","config":{"Cmd":["sh"],"Labels":{"a":"1","A":"2"}}}`},
		{Name: top + "/layer.tar", Body: string(l[1].Tar())},
		{Name: "repositories", Body: `{"old/app":{"v1":"` + top + `","V1":"` + top + `"}}`},
	}.Tar()
	s := store(t)
	loaded, err := loadBytes(t, s, archive, LoadOptions{})
	if err != nil || len(loaded) != 2 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	img, err := s.images.Resolve("old/app:v1")
	if err != nil || img.Config.Config.Cmd[0] != "sh" || len(img.Config.RootFS.DiffIDs) != 2 || img.Config.RootFS.DiffIDs[0] != oci.DigestOf(l[0].Tar()) || img.Config.History[0].CreatedBy != "/bin/sh -c one" {
		t.Fatalf("%+v, %v", img, err)
	}
}

// TestLoadRefuses loads archives made to harm.
func TestLoadRefuses(t *testing.T) {
	b := three().Build()
	canary := filepath.Join(t.TempDir(), "canary")
	if err := os.WriteFile(canary, b.Tars[0], 0o600); err != nil {
		t.Fatal(err)
	}
	config, names := b.ID().Hex()+".json", []string{"l0", "l1", "l2"}
	good := func() map[string]imagetest.File {
		return map[string]imagetest.File{
			"l0": {Name: "l0", Body: string(b.Tars[0])}, "l1": {Name: "l1", Body: string(b.Tars[1])}, "l2": {Name: "l2", Body: string(b.Tars[2])},
			config: {Name: config, Body: string(b.ConfigDoc)},
		}
	}
	manifest := func(config string, layers ...string) imagetest.File {
		return imagetest.File{Name: "manifest.json", Body: string(imagetest.JSON([]map[string]any{{"Config": config, "RepoTags": []string{"a:1"}, "Layers": layers}}))}
	}
	build := func(m imagetest.File, files map[string]imagetest.File) []byte {
		l := imagetest.Layer{}
		for f := range maps.Values(files) {
			l = append(l, f)
		}
		return append(l, m).Tar()
	}
	ociWith := func(change func(files map[string][]byte)) []byte {
		files := imagetest.OCIFiles(b)
		change(files)
		return imagetest.OCIArchive(files)
	}
	for name, c := range map[string]struct {
		archive []byte
		wantErr string
	}{
		"no tar":             {[]byte(strings.Repeat("rubbish ", 1000)), "no tar"},
		"empty":              {nil, "no images"},
		"a root file system": {three().Layers[0].Tar(), "no images"},
		"cut off":            {imagetest.DockerArchive(b)[:4000], "damaged"},
		"layer link to the host": {build(manifest(config, names...), with(good(), imagetest.Symlink("l0", "../../../.."+canary))),
			"file does not exist"},
		"layer path of the host": {build(manifest(config, canary, "l1", "l2"), good()), "file does not exist"},
		"layer with dots":        {build(manifest(config, "../../../.."+canary, "l1", "l2"), good()), "file does not exist"},
		"config of the host":     {build(manifest("/etc/hostname", names...), good()), "file does not exist"},
		"a link to itself":       {build(manifest(config, names...), with(good(), imagetest.Symlink("l0", "l0"))), "link to a link"},
		"other layer content":    {build(manifest(config, "l1", "l1", "l2"), good()), "the image's config says"},
		"too few layers":         {build(manifest(config, "l0", "l1"), good()), "2 layers, its config 3"},
		"config of another name": {build(manifest(strings.Repeat("0", 64)+".json", names...), with(good(), imagetest.File{Name: strings.Repeat("0", 64) + ".json", Body: string(b.ConfigDoc)})), "digest does not match"},
		"a tag with a digest":    {build(imagetest.File{Name: "manifest.json", Body: `[{"Config":"c","RepoTags":["a@sha256:` + b.ID().Hex() + `"],"Layers":[]}]`}, good()), "invalid tag"},
		"a name like a path":     {build(imagetest.File{Name: "manifest.json", Body: `[{"Config":"c","RepoTags":["../../x:1"],"Layers":[]}]`}, good()), "invalid reference format"},
		"a huge manifest.json":   {build(imagetest.File{Name: "manifest.json", Body: "[" + strings.Repeat(" ", oci.MaxDocument) + "]"}, good()), "larger than 4 MiB"},
		"a deep manifest.json":   {build(imagetest.File{Name: "manifest.json", Body: strings.Repeat("[", 1e5)}, good()), "nested deeper"},
		"duplicate keys":         {build(imagetest.File{Name: "manifest.json", Body: `[{"Config":"a","config":"b","Layers":[]}]`}, good()), "twice"},
		"two manifest.json":      {append(imagetest.Layer{manifest(config, "l0")}, manifest(config, names...)).Tar(), "twice"},
		"a sparse layer":         {sparse(t), "sparse"},
		"many entries":           {manyEntries(), "more than"},
		"OCI: other bytes": {ociWith(func(f map[string][]byte) {
			f["blobs/sha256/"+b.Manifest.Layers[1].Digest.Hex()] = bytes.Repeat([]byte{0}, int(b.Manifest.Layers[1].Size))
		}), ""},
		"OCI: other length": {ociWith(func(f map[string][]byte) { f["blobs/sha256/"+b.Manifest.Layers[1].Digest.Hex()] = nil }), "its descriptor says"},
		"OCI: a blob is missing": {ociWith(func(f map[string][]byte) { delete(f, "blobs/sha256/"+b.Manifest.Layers[1].Digest.Hex()) }),
			"file does not exist"},
		"OCI: other manifest": {ociWith(func(f map[string][]byte) {
			k := "blobs/sha256/" + oci.DigestOf(b.ManifestDoc).Hex()
			f[k] = bytes.Replace(f[k], []byte("gzip"), []byte("gzup"), 1)
		}), "digest does not match"},
		"OCI: version": {ociWith(func(f map[string][]byte) { f["oci-layout"] = []byte(`{"imageLayoutVersion":"2.0.0"}`) }), "version"},
		"OCI: digest like path": {ociWith(func(f map[string][]byte) {
			f["index.json"] = bytes.ReplaceAll(f["index.json"], []byte(oci.DigestOf(b.ManifestDoc)), []byte("sha256:../../../../etc/passwd"))
		}), "invalid digest"},
		"OCI: index is manifest": {ociWith(func(f map[string][]byte) { f["index.json"] = b.ManifestDoc }), "a manifest where an index"},
		"bomb":                   {imagetest.Zstd.Compress(build(manifest(config, names...), with(good(), imagetest.File{Name: "z", Body: strings.Repeat("\x00", 100<<20)}))), "times its size"},
	} {
		t.Run(name, func(t *testing.T) {
			s := store(t)
			loaded, err := loadBytes(t, s, c.archive, LoadOptions{})
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("got %v, %v; want %q", loaded, err, c.wantErr)
			}
			checkEmpty(t, s)
		})
	}
}

func with(files map[string]imagetest.File, f imagetest.File) map[string]imagetest.File {
	files[f.Name] = f
	return files
}

// sparse returns an archive with a file in GNU's sparse form (PAX 1.0).
func sparse(t *testing.T) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	body := []byte("1\n0\n512\n")
	body = append(body, make([]byte, 1024-len(body))...)
	h := &tar.Header{Typeflag: tar.TypeReg, Name: "l0", Size: int64(len(body)), Mode: 0o644, Format: tar.FormatPAX, PAXRecords: map[string]string{"GNU_sparse.major": "1", "GNU_sparse.minor": "0", "GNU_sparse.name": "l0", "GNU_sparse.realsize": "512"}}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(b.Bytes(), []byte("GNU_sparse."), []byte("GNU.sparse.")) // names that the writer refuses
}

func manyEntries() []byte {
	l := make(imagetest.Layer, maxFiles+1)
	for i := range l {
		l[i].Name = "f"
	}
	return imagetest.Gzip.Compress(l.Tar())
}

// TestLoadDirRefuses points out of the directory, and to what is no file.
func TestLoadDirRefuses(t *testing.T) {
	b := three().Build()
	blob := func(i int) string { return "blobs/sha256/" + b.Manifest.Layers[i].Digest.Hex() }
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, b.Blobs[0], 0o600); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(path string) error{
		"link out":  func(p string) error { return os.Symlink(outside, p) },
		"fifo":      func(p string) error { return unix.Mkfifo(p, 0o600) },
		"directory": func(p string) error { return os.Mkdir(p, 0o700) },
		"device":    func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o600, 1<<8|5) },
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := store(t), t.TempDir()
			if err := imagetest.WriteFiles(dir, imagetest.OCIFiles(b)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, blob(0))
			if err := errors.Join(os.Remove(path), spoil(path)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if loaded, err := s.LoadDir(t.Context(), dir, LoadOptions{}); err == nil {
				t.Errorf("%+v", loaded)
			}
			if d := time.Since(begin); d > 10*time.Second {
				t.Errorf("took %v", d)
			}
			checkEmpty(t, s)
		})
	}
}

func FuzzLoad(f *testing.F) {
	img := imagetest.Image{Names: []string{"a:1"}, Layers: []imagetest.Layer{{{Name: "f", Body: "x"}}}}
	f.Add(imagetest.DockerArchive(img.Build()))
	f.Add(imagetest.LegacyDockerArchive(img.Build()))
	f.Add(imagetest.OCIArchive(imagetest.OCIFiles(img.Build())))
	f.Add(imagetest.Zstd.Compress(imagetest.DockerArchive(img.Build())))
	s := store(f)
	f.Fuzz(func(t *testing.T, archive []byte) {
		loaded, _ := s.Load(t.Context(), bytes.NewReader(archive), LoadOptions{})
		for _, l := range loaded {
			if _, err := s.images.Get(l.ID); err != nil {
				t.Fatal(err)
			}
		}
	})
}
