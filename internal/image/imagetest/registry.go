package imagetest

import (
	"bytes"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"berth/internal/oci"
)

// Registry is a registry in memory, for tests that need no real one. It is an
// http.Handler and serves every repository the same images.
type Registry struct {
	mu      sync.Mutex
	content map[oci.Digest][]byte
	types   map[oci.Digest]string
	tags    map[string]oci.Digest
	order   []string
	blobs   int
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{content: map[oci.Digest][]byte{}, types: map[oci.Digest]string{}, tags: map[string]oci.Digest{}}
}

// Push puts an image under a tag.
func (r *Registry) Push(tag string, b *Built) {
	r.mu.Lock()
	maps.Copy(r.content, b.Content())
	r.mu.Unlock()
	r.PushDocument(tag, b.Manifest.MediaType, b.ManifestDoc)
}

// PushDocument puts a manifest or index under a tag. The blobs that it names
// must have been pushed.
func (r *Registry) PushDocument(tag, mediaType string, doc []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := oci.DigestOf(doc)
	r.content[d], r.types[d] = doc, mediaType
	if _, known := r.tags[tag]; !known {
		r.order = append(r.order, tag)
	}
	r.tags[tag] = d
}

// Blobs returns how many blobs were asked for so far.
func (r *Registry) Blobs() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blobs
}

// ServeHTTP answers /v2/, /v2/NAME/manifests/REF, /v2/NAME/blobs/DIGEST and /v2/NAME/tags/list.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/v2/" {
		return
	}
	parts := strings.Split(req.URL.Path, "/")
	kind, ref := parts[len(parts)-2], parts[len(parts)-1]
	digest := oci.Digest(ref)
	r.mu.Lock()
	switch kind {
	case "tags":
		list := JSON(map[string]any{"tags": r.order})
		r.mu.Unlock()
		w.Write(list) //nolint:errcheck // the client sees it
		return
	case "manifests":
		if d, ok := r.tags[ref]; ok {
			digest = d
		}
	case "blobs":
		r.blobs++
	}
	content, ok := r.content[digest]
	mediaType := r.types[digest]
	r.mu.Unlock() // a slow client must not make the others wait
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		code := map[string]string{"manifests": "MANIFEST_UNKNOWN", "blobs": "BLOB_UNKNOWN"}[kind]
		w.Write(JSON(map[string]any{"errors": []map[string]string{{"code": code, "message": strings.ToLower(strings.ReplaceAll(code, "_", " "))}}})) //nolint:errcheck // as above
		return
	}
	w.Header().Set("Docker-Content-Digest", string(digest))
	if mediaType != "" && kind == "manifests" {
		w.Header().Set("Content-Type", mediaType)
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(content))
}
