package transfer

import (
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	"berth/internal/errdefs"
	"berth/internal/ident"
	"berth/internal/oci"
	"berth/internal/reference"
)

// maxV1Layers is how long a chain of version 1 layers may be.
const maxV1Layers = 500

// v1Image is the "json" file of a layer, as Docker wrote it before version 1.10.
// Every layer was an image of its own that named its parent.
type v1Image struct {
	ID            string
	Parent        string
	Created       *time.Time
	Author        string
	Comment       string
	Architecture  string
	OS            string
	DockerVersion string `json:"docker_version"`
	Config        *oci.RunConfig
	// What the layer's own step was.
	ContainerConfig struct{ Cmd []string } `json:"container_config"`
}

// legacyArchive loads an archive without manifest.json: "repositories" leads
// from names and tags to layers, and each layer's directory holds its json and
// its layer.tar. A config is made from them, as Docker 1.10 did when it changed over.
func (l *loader) legacyArchive(ctx context.Context, doc []byte) error {
	var repositories map[string]map[string]string
	if err := oci.Decode("repositories", doc, 0, &repositories); err != nil {
		return err
	}
	tops := map[string][]reference.Named{}
	for repo, tags := range repositories {
		for tag, id := range tags {
			names, err := parseTags([]string{repo + ":" + tag})
			if err != nil {
				return err
			}
			tops[id] = append(tops[id], names...)
		}
	}
	order := make([]string, 0, len(tops))
	for id := range tops {
		order = append(order, id)
	}
	slices.Sort(order)
	for _, id := range order {
		slices.SortFunc(tops[id], func(a, b reference.Named) int { return strings.Compare(a.String(), b.String()) })
		if err := l.v1(ctx, id, tops[id]); err != nil {
			return err
		}
	}
	return nil
}

// v1 loads the image whose top layer is id.
func (l *loader) v1(ctx context.Context, id string, names []reference.Named) error {
	chain, err := l.v1Chain(id)
	if err != nil {
		return err
	}
	top := chain[len(chain)-1]
	config := &oci.ImageConfig{
		Created: top.Created, Author: top.Author, Architecture: top.Architecture, OS: top.OS,
		DockerVersion: top.DockerVersion, RootFS: oci.RootFS{Type: "layers"},
	}
	if config.OS == "" {
		config.OS = "linux"
	}
	if config.Architecture == "" {
		config.Architecture = "amd64"
	}
	if top.Config != nil {
		config.Config = *top.Config
	}
	for _, v := range chain {
		d, err := l.diffID(ctx, v.ID+"/layer.tar")
		if err != nil {
			return err
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, d)
		config.History = append(config.History, oci.History{Created: v.Created, Author: v.Author, Comment: v.Comment, CreatedBy: strings.Join(v.ContainerConfig.Cmd, " ")})
	}
	raw, err := encode(config)
	if err != nil {
		return err
	}
	layers := stack(config.RootFS.DiffIDs)
	for i, v := range chain {
		layers[i].open = l.openLayer(v.ID+"/layer.tar", layers[i].id, oci.Descriptor{})
	}
	return l.image(ctx, raw, layers, names)
}

// v1Chain reads the jsons from a layer down to its base, and returns them base first.
func (l *loader) v1Chain(id string) ([]v1Image, error) {
	var chain []v1Image
	for id != "" {
		if !ident.Valid(id) {
			return nil, errdefs.New(errdefs.InvalidArgument, "%.100q is no layer id", id)
		}
		if len(chain) == maxV1Layers {
			return nil, errdefs.New(errdefs.InvalidArgument, "an image has more than %d layers", maxV1Layers)
		}
		doc, err := l.document(id + "/json")
		if err != nil {
			return nil, err
		}
		v := v1Image{}
		if err := oci.Decode("layer description", doc, 2, &v); err != nil {
			return nil, err
		}
		v.ID = id
		chain = append(chain, v)
		id = v.Parent
	}
	slices.Reverse(chain)
	return chain, nil
}

// diffID returns the digest of a layer's tar.
func (l *loader) diffID(ctx context.Context, name string) (oci.Digest, error) {
	c, err := l.f.open(name)
	if err != nil {
		return "", err
	}
	defer c.Close()
	u, err := unpackLayer(c)
	if err != nil {
		return "", err
	}
	defer u.Close() //nolint:errcheck // reading to the end was all
	sum := sha256.New()
	if err := copyBounded(ctx, sum, u); err != nil {
		return "", err
	}
	return oci.DigestOfSum(sum.Sum(nil)), nil
}
