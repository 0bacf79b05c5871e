package registry

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Name returns the repository's name.
func (r *Repository) Name() reference.Named { return r.name }

// HasBlob reports whether the repository has a blob. The question is asked with
// the right to write, so that whoever may not is told before anything is packed.
func (r *Repository) HasBlob(ctx context.Context, d oci.Descriptor) (bool, error) {
	resp, err := r.write(ctx, http.MethodHead, r.base+"/blobs/"+string(d.Digest), nil, nil, "")
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp.ContentLength < 0 || resp.ContentLength == d.Size, nil
	case resp.StatusCode == http.StatusNotFound:
		return false, nil
	}
	return false, r.denied(answer(resp))
}

// Mount lets the repository have a blob of another one of the same registry,
// without sending it. It reports whether that was done: a registry may not find
// the blob there, or not let us read it.
func (r *Repository) Mount(ctx context.Context, d oci.Descriptor, from reference.Named) (bool, error) {
	at, err := r.begin(ctx, url.Values{"mount": {string(d.Digest)}, "from": {from.Path()}})
	if err != nil || at == nil {
		return err == nil, err
	}
	// The registry began an upload instead. Nobody needs it.
	if resp, err := r.write(ctx, http.MethodDelete, at.String(), nil, nil, ""); err == nil {
		resp.Body.Close() //nolint:errcheck // it has nothing to say
	}
	return false, nil
}

// PutManifest stores a document under a tag, or under its digest. What it leads
// to must be there.
func (r *Repository) PutManifest(ctx context.Context, ref, mediaType string, doc []byte) error {
	body := &part{content: bytes.NewReader(doc), length: int64(len(doc)), on: func(int64) {}}
	resp, err := r.write(ctx, http.MethodPut, r.base+"/manifests/"+ref, http.Header{"Content-Type": {mediaType}}, body, "")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusAccepted {
		return r.denied(answer(resp))
	}
	if said := resp.Header.Get("Docker-Content-Digest"); said != "" && said != string(oci.DigestOf(doc)) {
		return mismatch("manifest", printable(said), oci.DigestOf(doc))
	}
	return nil
}

// begin starts an upload and returns the URL where it goes on; nil if what query
// asks for made it unnecessary.
func (r *Repository) begin(ctx context.Context, query url.Values) (*url.URL, error) {
	path := r.base + "/blobs/uploads/"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	resp, err := r.write(ctx, http.MethodPost, path, nil, nil, query.Get("from"))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusAccepted:
		return location(resp)
	case http.StatusCreated:
		if len(query) > 0 {
			return nil, nil
		}
	}
	return nil, r.denied(answer(resp))
}

// location reads where an upload goes on. That may be another host, as storage
// often is; what it gets has no credentials (see guard).
func location(resp *http.Response) (*url.URL, error) {
	at, err := resp.Location()
	if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" || at.User != nil {
		return nil, errdefs.New(errdefs.Internal, "cannot push: the registry does not say where to send a layer: %q", printable(resp.Header.Get("Location")))
	}
	return at, nil
}

// write sends one request with the right to write. from is the path of another
// repository that it reads, "" for none. The caller closes the body.
//
// A body is sent again only if the registry first wants to know who we are:
// after any other failure it may have taken some, and the caller asks how much.
func (r *Repository) write(ctx context.Context, method, to string, header http.Header, body *part, from string) (*http.Response, error) {
	scopes := []string{auth.ScopeRepository(r.name.Path(), auth.ActionPull, auth.ActionPush)}
	if from != "" {
		scopes = append(scopes, auth.ScopeRepository(from, auth.ActionPull))
	}
	authCtx := auth.AppendScopesForHost(ctx, r.host, scopes...)
	req, err := http.NewRequestWithContext(authCtx, method, to, nil)
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header
	}
	client := r.http
	if body != nil {
		req.ContentLength, req.GetBody = body.length, body.open
		req.Body, _ = body.open() //nolint:errcheck // it never fails
		client = r.once()
	}
	resp, err := client.Do(req)
	switch {
	case err == nil:
		return resp, nil
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
		return nil, r.denied(&Answer{Status: http.StatusUnauthorized, Code: "UNAUTHORIZED", Message: "authentication required"})
	case context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), errStalled):
		return nil, context.Cause(ctx)
	}
	return nil, r.unsent(err)
}

// once is the client for requests that must not be repeated unseen.
func (r *Repository) once() *auth.Client {
	c := *r.http
	plain := *c.Client
	if p, ok := plain.Transport.(*patient); ok {
		plain.Transport = p.base
	}
	c.Client = &plain
	return &c
}

// unsent is for everything that is not an answer of the registry.
func (r *Repository) unsent(err error) error {
	var e *errdefs.Error
	if errors.As(err, &e) {
		return errdefs.Wrap(e, "push", r.name.FamiliarName())
	}
	var resp *errcode.ErrorResponse // of the token server
	if errors.As(err, &resp) {
		a := &Answer{Status: resp.StatusCode}
		if len(resp.Errors) > 0 {
			a.Code, a.Message = printable(resp.Errors[0].Code), printable(resp.Errors[0].Message)
		}
		return r.denied(a)
	}
	return (&errdefs.Error{Kind: errdefs.Unavailable, Op: "push", Subject: r.name.FamiliarName(), Err: withoutQuery(err)}).
		WithHint("check the name, the network and, if you need one, the proxy (HTTPS_PROXY); what was sent is not sent again")
}

// denied turns a registry's refusal of a push into an error in Docker's words.
func (r *Repository) denied(a *Answer) error {
	name := r.name.FamiliarName()
	login := "berth login"
	if r.name.Domain() != reference.DefaultDomain {
		login += " " + r.name.Domain()
	}
	switch {
	case a.Status == http.StatusUnauthorized || a.Code == "UNAUTHORIZED":
		return errdefs.New(errdefs.Unauthorized, "cannot push %s: %w", name, a.or("unauthorized: authentication required")).WithHint("log in with: %s", login)
	case a.Status == http.StatusForbidden || a.Code == "DENIED":
		return errdefs.New(errdefs.Forbidden, "cannot push %s: %w", name, a.or("denied: requested access to the resource is denied")).
			WithHint("log in as somebody who may write there (%s), or push under a name of your own: berth tag", login)
	case a.Code == "NAME_INVALID":
		return errdefs.New(errdefs.InvalidArgument, "cannot push %s: %w", name, a).WithHint("give the image another name: berth tag")
	case a.Status == http.StatusNotFound || a.Code == "NAME_UNKNOWN":
		return errdefs.New(errdefs.NotFound, "cannot push %s: %w", name, a.or("name unknown: repository name not known to registry")).
			WithHint("this registry wants a repository to be made before it is pushed to")
	case a.Status == http.StatusMethodNotAllowed || a.Code == "UNSUPPORTED":
		return errdefs.New(errdefs.Unsupported, "cannot push %s: %w", name, a).WithHint("the registry takes no uploads: it is read-only, or the cache of another one")
	case a.Status == http.StatusInsufficientStorage || a.Status == http.StatusRequestEntityTooLarge:
		return errdefs.New(errdefs.Exhausted, "cannot push %s: %w", name, a).WithHint("the registry has no room for it: its disk is full, or your share of it")
	case a.Status == http.StatusTooManyRequests:
		return errdefs.New(errdefs.Unavailable, "cannot push %s: too many requests: %w", name, a).WithHint("the registry limits how often you may push: wait")
	case a.Status >= http.StatusInternalServerError:
		return errdefs.New(errdefs.Unavailable, "cannot push %s: %w", name, a).
			WithHint("the registry has a problem, perhaps a full disk: look at its log, or try again later")
	}
	return errdefs.New(errdefs.Internal, "cannot push %s: %w", name, a)
}

// or returns the answer, or other words if it has none of its own.
func (a *Answer) or(words string) error {
	if a.Code != "" {
		return a
	}
	return errors.New(words)
}
