package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// accept lists the documents we can use; a registry may answer with another form of one.
const accept = oci.MediaTypeIndex + ", " + oci.MediaTypeManifest + ", " + oci.MediaTypeDockerIndex + ", " + oci.MediaTypeDockerManifest + ", */*;q=0.1"

// get sends one request below the repository. The caller closes the body.
func (r *Repository) get(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	ctx = auth.AppendScopesForHost(ctx, r.host, auth.ScopeRepository(r.at.Path, auth.ActionPull))
	if r.query != "" {
		sep := "?"
		if strings.Contains(path, "?") {
			sep = "&"
		}
		path += sep + r.query
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	resp, err := r.http.Do(req)
	if err == nil {
		return resp, nil
	}
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return nil, refused(r.name, "", &Answer{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "authentication required"})
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	return nil, unreachable(r.name, err)
}

// Resolve asks which document a tag or digest leads to, without fetching it.
func (r *Repository) Resolve(ctx context.Context, ref string) (oci.Descriptor, error) {
	resp, err := r.get(ctx, http.MethodHead, "/manifests/"+ref, http.Header{"Accept": {accept}})
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer resp.Body.Close()
	d, derr := oci.ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	if resp.StatusCode == http.StatusOK && derr == nil && resp.ContentLength >= 0 {
		return oci.Descriptor{MediaType: resp.Header.Get("Content-Type"), Digest: d, Size: resp.ContentLength}, nil
	}
	// A HEAD has no body to tell why not, and the digest header is optional.
	d2, _, err := r.Manifest(ctx, ref)
	return d2, err
}

// Manifest fetches the document of a tag or digest. The descriptor's digest is
// that of the bytes, and if ref is a digest, the two are the same.
func (r *Repository) Manifest(ctx context.Context, ref string) (oci.Descriptor, []byte, error) {
	resp, err := r.get(ctx, http.MethodGet, "/manifests/"+ref, http.Header{"Accept": {accept}})
	if err != nil {
		return oci.Descriptor{}, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return oci.Descriptor{}, nil, refused(r.name, ref, answer(resp))
	}
	doc, err := io.ReadAll(io.LimitReader(resp.Body, oci.MaxDocument+1))
	if err != nil {
		return oci.Descriptor{}, nil, unreachable(r.name, err)
	}
	if len(doc) > oci.MaxDocument {
		return oci.Descriptor{}, nil, errdefs.New(errdefs.InvalidArgument, "manifest of %s is larger than %d MiB", r.name.FamiliarName(), oci.MaxDocument>>20)
	}
	d := oci.Descriptor{MediaType: resp.Header.Get("Content-Type"), Digest: oci.DigestOf(doc), Size: int64(len(doc))}
	if strings.HasPrefix(ref, "sha256:") && ref != string(d.Digest) {
		return oci.Descriptor{}, nil, mismatch("manifest", ref, d.Digest)
	}
	if said := resp.Header.Get("Docker-Content-Digest"); said != "" && said != string(d.Digest) {
		return oci.Descriptor{}, nil, mismatch("manifest", printable(said), d.Digest)
	}
	return d, doc, nil
}

func mismatch(what, want string, got oci.Digest) error {
	return errdefs.New(errdefs.InvalidArgument, "%s verification failed: digest is %s, not %s", what, got, want).
		WithHint("the registry, or something between it and you, changed the content: nothing was stored")
}

// maxTags bounds how many tags are listed.
const maxTags = 100_000

// Tags lists the tags of the repository.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	var tags []string
	path := "/tags/list"
	for path != "" {
		resp, err := r.get(ctx, http.MethodGet, path, nil)
		if err != nil {
			return nil, err
		}
		page, next, err := r.tagPage(resp)
		if err != nil {
			return nil, err
		}
		tags = append(tags, page...)
		if len(tags) > maxTags || next == path {
			return nil, errdefs.New(errdefs.InvalidArgument, "cannot list the tags of %s: more than %d", r.name.FamiliarName(), maxTags)
		}
		path = next
	}
	return tags, nil
}

func (r *Repository) tagPage(resp *http.Response) (tags []string, next string, err error) {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, "", refused(r.name, "", answer(resp))
	}
	var doc struct{ Tags []string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, oci.MaxDocument)).Decode(&doc); err != nil {
		return nil, "", errdefs.New(errdefs.Internal, "cannot list the tags of %s: %w", r.name.FamiliarName(), err)
	}
	for _, t := range doc.Tags {
		if !reference.ValidTag(t) {
			return nil, "", errdefs.New(errdefs.InvalidArgument, "cannot list the tags of %s: %q is none", r.name.FamiliarName(), printable(t))
		}
	}
	return doc.Tags, nextPage(resp.Header.Get("Link")), nil
}

// nextPage reads a header like `</v2/a/tags/list?last=x&n=100>; rel="next"`. Of
// the URL only the query counts: the rest is known, and must not lead elsewhere.
func nextPage(link string) string {
	target, params, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.Contains(params, `rel="next"`) && !strings.Contains(params, "rel=next") {
		return ""
	}
	u, err := url.Parse(target)
	if err != nil || u.RawQuery == "" {
		return ""
	}
	return fmt.Sprintf("/tags/list?%s", u.RawQuery)
}
