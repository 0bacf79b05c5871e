package imagetest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"berth/internal/oci"
)

// DockerArchive returns the images as `docker save` did before version 25: one
// manifest.json, configs and plain layer tars named by their digests.
func DockerArchive(images ...*Built) []byte { return dockerFiles(false, images).Tar() }

// LegacyDockerArchive returns the images as Docker 1.10 to 24 did: a directory
// for each layer, layers that were written before as symbolic links to them, and
// a "repositories" file beside manifest.json.
func LegacyDockerArchive(images ...*Built) []byte { return dockerFiles(true, images).Tar() }

func dockerFiles(legacy bool, images []*Built) Layer {
	var files Layer
	var manifest []map[string]any
	repositories := map[string]map[string]string{}
	written := map[oci.Digest]string{}
	for _, b := range images {
		var layers []string
		for n, t := range b.Tars {
			name := b.DiffIDs[n].Hex() + ".tar"
			if legacy {
				dir := oci.DigestOf([]byte(string(b.ID()) + string(rune('a'+n)))).Hex()
				name = dir + "/layer.tar"
				files = append(files, Dir(dir+"/"), File{Name: dir + "/VERSION", Body: "1.0"}, File{Name: dir + "/json", Body: "{}"})
			}
			layers = append(layers, name)
			switch at, seen := written[b.DiffIDs[n]]; {
			case seen && legacy:
				files = append(files, Symlink(name, "../"+at))
			case !seen:
				files = append(files, File{Name: name, Body: string(t)})
				written[b.DiffIDs[n]] = name
			}
		}
		files = append(files, File{Name: b.ID().Hex() + ".json", Body: string(b.ConfigDoc)})
		manifest = append(manifest, map[string]any{"Config": b.ID().Hex() + ".json", "RepoTags": b.Names, "Layers": layers})
		for _, n := range b.Names {
			repo, tag := n[:strings.LastIndexByte(n, ':')], n[strings.LastIndexByte(n, ':')+1:]
			repositories[repo] = map[string]string{tag: strings.TrimSuffix(layers[len(layers)-1], "/layer.tar")}
		}
	}
	files = append(files, File{Name: "manifest.json", Body: string(JSON(manifest))})
	if legacy {
		files = append(files, File{Name: "repositories", Body: string(JSON(repositories))})
	}
	return files
}

// OCIFiles returns the images as the files of an OCI layout, by path.
func OCIFiles(images ...*Built) map[string][]byte {
	x := oci.Index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: []oci.Descriptor{}}
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	for _, b := range images {
		for digest, content := range b.Content() {
			files["blobs/sha256/"+digest.Hex()] = content
		}
		names := b.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, n := range names {
			d := b.Descriptor()
			if n != "" {
				d.Annotations = map[string]string{"io.containerd.image.name": n, "org.opencontainers.image.ref.name": n[strings.LastIndexByte(n, ':')+1:]}
			}
			x.Manifests = append(x.Manifests, d)
		}
	}
	files["index.json"] = JSON(x)
	return files
}

// OCIArchive returns the files of an OCI layout as a tar.
func OCIArchive(files map[string][]byte) []byte {
	l := Layer{Dir("blobs/"), Dir("blobs/sha256/")}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		l = append(l, File{Name: path, Body: string(files[path])})
	}
	return l.Tar()
}

// WriteFiles writes the files of an OCI layout below dir.
func WriteFiles(dir string, files map[string][]byte) error {
	for path, content := range files {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
