package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// image is what an OCI archive says, in the shapes of the image specification.
type image struct {
	config  imageConfig
	layers  []map[string]*entry // each as its tar has it, by cleaned path
	files   tree                // what the layers make together
	created []string            // config.History, as one line each
}

type imageConfig struct {
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OS           string `json:"os"`
	OSVersion    string `json:"os.version"`
	Author       string `json:"author"`
	Config       map[string]json.RawMessage
	History      []struct {
		CreatedBy  string `json:"created_by"`
		Comment    string `json:"comment"`
		Author     string `json:"author"`
		EmptyLayer bool   `json:"empty_layer"`
	} `json:"history"`
}

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

// readImage reads an OCI archive with one image.
func readImage(path string) (*image, error) {
	blobs, err := readBlobs(path)
	if err != nil {
		return nil, err
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(blobs["index.json"], &index); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	if len(index.Manifests) != 1 {
		return nil, fmt.Errorf("%d manifests in %s", len(index.Manifests), path)
	}
	blob := func(d descriptor) []byte { return blobs["blobs/"+strings.Replace(d.Digest, ":", "/", 1)] }
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	if err := json.Unmarshal(blob(index.Manifests[0]), &manifest); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	img := &image{files: tree{}}
	if err := json.Unmarshal(blob(manifest.Config), &img.config); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	for _, d := range manifest.Layers {
		entries, err := readLayer(blob(d))
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
		}
		layer := map[string]*entry{}
		for _, e := range entries {
			layer[e.path] = e
		}
		img.layers = append(img.layers, layer)
		if err := img.files.apply(entries); err != nil {
			return nil, fmt.Errorf("layer %s: %w", d.Digest, err)
		}
	}
	img.dropEmptyLayers()
	return img, nil
}

// dropEmptyLayers takes out the layers without a file, and says in the history
// that there is none. BuildKit has such layers, berth has not (docs/compat.md).
func (img *image) dropEmptyLayers() {
	var kept []map[string]*entry
	n := 0
	for _, h := range img.config.History {
		empty := h.EmptyLayer
		if !empty && n < len(img.layers) {
			if empty = len(img.layers[n]) == 0; !empty {
				kept = append(kept, img.layers[n])
			}
			n++
		}
		img.created = append(img.created, fmt.Sprintf("%s | comment %q author %q empty %v", h.CreatedBy, h.Comment, h.Author, empty))
	}
	img.layers = append(kept, img.layers[n:]...)
}

func readBlobs(path string) (map[string][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	blobs := map[string][]byte{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return blobs, nil
		}
		if err != nil {
			return nil, err
		}
		if blobs[h.Name], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
}

// readLayer reads a layer's tar, which may be compressed by gzip.
func readLayer(blob []byte) ([]*entry, error) {
	if bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(blob))
		if err != nil {
			return nil, err
		}
		return readTar(z)
	}
	return readTar(bytes.NewReader(blob))
}
