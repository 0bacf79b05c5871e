package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// host is a fake registry, or the place one sends us to. It remembers the
// secrets that it was sent.
type host struct {
	*httptest.Server
	mu      sync.Mutex
	secrets []string
	ranges  []string
	handle  http.HandlerFunc
}

func newHost(t *testing.T, tls bool, handle http.HandlerFunc) *host {
	t.Helper()
	h := &host{handle: handle}
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h.mu.Lock()
		if a := r.Header.Get("Authorization"); a != "" {
			h.secrets = append(h.secrets, a)
		}
		if strings.Contains(string(body), "refresh") || strings.Contains(string(body), "password") {
			h.secrets = append(h.secrets, string(body))
		}
		h.ranges = append(h.ranges, r.Header.Get("Range"))
		h.mu.Unlock()
		h.handle(w, r)
	})
	if tls {
		h.Server = httptest.NewTLSServer(serve)
	} else {
		h.Server = httptest.NewServer(serve)
	}
	t.Cleanup(h.Close)
	return h
}

func (h *host) addr() string { return h.URL[strings.Index(h.URL, "//")+2:] }

func (h *host) seen() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.secrets
}

const user, password = "alice", "s3cret"

func basic() string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) }

// only gives the credentials for one host.
func only(addr string, c auth.Credential) Credentials {
	return func(_ context.Context, host string) (auth.Credential, error) {
		if host == addr {
			return c, nil
		}
		return auth.EmptyCredential, nil
	}
}

func open(t *testing.T, h *host, o Options) *Repository {
	t.Helper()
	n, err := reference.ParseExact(h.addr() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), n, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func fetch(t *testing.T, r *Repository, d oci.Descriptor, offset int64) (string, error) {
	t.Helper()
	rc, _, err := r.Blob(t.Context(), d, offset, d.Size)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	return string(b), err
}

func descriptor(content string) oci.Descriptor {
	return oci.Descriptor{Digest: oci.DigestOf([]byte(content)), Size: int64(len(content))}
}

// TestCredentialsStay sends a client with credentials for A through everything
// by which A, or whoever speaks in its name, can point to B.
func TestCredentialsStay(t *testing.T) {
	const content = "blob"
	d := descriptor(content)
	for _, c := range []struct {
		name       string
		tlsA, tlsB bool
		cred       auth.Credential
		a          func(a, b *host) http.HandlerFunc
		wantErr    string // "" : the blob arrives
	}{
		{name: "redirect 307 to B", cred: auth.Credential{Username: user, Password: password},
			a: func(_, b *host) http.HandlerFunc { return basicThen(redirect(b, 307)) }},
		{name: "redirect 302 to B", cred: auth.Credential{Username: user, Password: password},
			a: func(_, b *host) http.HandlerFunc { return basicThen(redirect(b, 302)) }},
		{name: "redirect from HTTPS to HTTPS", tlsA: true, tlsB: true, cred: auth.Credential{Username: user, Password: password},
			a: func(_, b *host) http.HandlerFunc { return basicThen(redirect(b, 307)) }},
		{name: "redirect down to HTTP", tlsA: true, cred: auth.Credential{Username: user, Password: password},
			a: func(_, b *host) http.HandlerFunc { return basicThen(redirect(b, 307)) }, wantErr: "plain HTTP"},
		{name: "realm B", cred: auth.Credential{Username: user, Password: password},
			a: func(_, b *host) http.HandlerFunc { return bearer(b.URL + "/token") }, wantErr: "credentials"},
		{name: "realm B, HTTPS", tlsA: true, tlsB: true, cred: auth.Credential{Username: user, Password: password},
			a: func(_, b *host) http.HandlerFunc { return bearer(b.URL + "/token") }, wantErr: "credentials"},
		{name: "realm B, refresh token", tlsA: true, tlsB: true, cred: auth.Credential{RefreshToken: "refresh-" + password},
			a: func(_, b *host) http.HandlerFunc { return bearer(b.URL + "/token") }, wantErr: "credentials"},
		{name: "realm of another name", cred: auth.Credential{Username: user, Password: password},
			a: func(_, b *host) http.HandlerFunc {
				return bearer(strings.Replace(b.URL, "127.0.0.1", "localhost", 1) + "/token")
			}, wantErr: "realm"},
		{name: "realm with a user in it", cred: auth.Credential{Username: user, Password: password},
			a: func(a, b *host) http.HandlerFunc {
				return bearer(strings.Replace(b.URL, "http://", "http://"+a.addr()+"@", 1) + "/token")
			}, wantErr: "credentials"},
		{name: "own realm sends on to B", cred: auth.Credential{Username: user, Password: password},
			a: func(a, b *host) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/token" {
						redirect(b, 307)(w, r)
						return
					}
					bearer(a.URL+"/token")(w, r)
				}
			}, wantErr: "access denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newHost(t, c.tlsB, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					fmt.Fprint(w, `{"token":"stolen"}`)
					return
				}
				fmt.Fprint(w, content)
			})
			a := newHost(t, c.tlsA, nil)
			a.handle = c.a(a, b)
			r := open(t, a, Options{Credentials: only(a.addr(), c.cred)})
			got, err := fetch(t, r, d, 0)
			if seen := b.seen(); len(seen) > 0 {
				t.Errorf("B was sent %q", seen)
			}
			if c.wantErr == "" {
				if err != nil || got != content || len(a.seen()) == 0 {
					t.Errorf("got %q, %v; A saw %q", got, err, a.seen())
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.wantErr) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func redirect(to *host, code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to.URL+r.URL.Path, code) }
}

func basicThen(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" && r.Header.Get("Authorization") != basic() {
			w.Header().Set("WWW-Authenticate", `Basic realm="a"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

func bearer(realm string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="a"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func TestGuard(t *testing.T) {
	for _, c := range []struct {
		scheme, host, target string
		trusted              []string
		ok                   bool
	}{
		{"https", "registry-1.docker.io", "https://auth.docker.io/token", nil, true},
		{"https", "registry.gitlab.com", "https://gitlab.com/jwt/auth", nil, true},
		{"https", "ghcr.io", "https://ghcr.io/token", nil, true},
		{"https", "ghcr.io", "https://GHCR.io:443/token", nil, true},
		{"https", "ghcr.io", "https://auth.ghcr.io/token", nil, true},
		{"https", "ghcr.io", "https://evil.io/token", nil, false},
		{"https", "ghcr.io", "https://notghcr.io/token", nil, false},
		{"https", "ghcr.io", "https://ghcr.io.evil.example/token", nil, false},
		{"https", "ghcr.io", "https://ghcr.io:8443/token", nil, false},
		{"https", "ghcr.io", "https://169.254.169.254/token", nil, false},
		{"https", "registry.a.example", "https://sso.b.example/token", []string{"sso.b.example"}, true},
		{"https", "10.0.0.1", "https://10.0.0.2/token", nil, false},
		{"https", "1.2.3.4:443", "https://3.4/token", nil, false},
		{"http", "localhost:5000", "http://localhost:5000/token", nil, true},
		{"http", "localhost:5000", "http://localhost:5001/token", nil, false},
	} {
		reached := false
		g := &guard{scheme: c.scheme, host: c.host, trusted: c.trusted, base: roundTrip(func(*http.Request) (*http.Response, error) {
			reached = true
			return &http.Response{Body: http.NoBody}, nil
		})}
		req := httptest.NewRequest(http.MethodGet, c.target, nil)
		req.Header.Set("Authorization", basic())
		resp, err := g.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		if reached != c.ok || (err == nil) != c.ok {
			t.Errorf("credentials of %s for %s: sent %v, %v", c.host, c.target, reached, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPlainHTTP(t *testing.T) {
	for _, h := range []string{"localhost", "localhost:5000", "127.0.0.1:5000", "127.8.8.8", "[::1]:5000", "[::1]", "a.localhost:1"} {
		if !isLoopback(h) {
			t.Errorf("%s is not taken for this machine", h)
		}
	}
	for _, h := range []string{"example.com", "10.0.0.1:5000", "localhost.example.com", "127.example.com", "[fe80::1]:5000", "0.0.0.0:5000"} {
		if isLoopback(h) {
			t.Errorf("%s is taken for this machine", h)
		}
	}
	g := &guard{scheme: "https", host: "example.com"}
	if _, err := g.RoundTrip(httptest.NewRequest(http.MethodGet, "http://example.com/v2/", nil)); !errors.Is(err, errdefs.Forbidden) {
		t.Errorf("plain HTTP to example.com: %v", err)
	}
}

// TestBlob downloads over connections that break, stall and lie.
func TestBlob(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	d := descriptor(content)
	for _, c := range []struct {
		name    string
		serve   func(n int, w http.ResponseWriter, r *http.Request)
		offset  int64
		wantErr string
	}{
		{name: "whole", serve: func(_ int, w http.ResponseWriter, r *http.Request) { serveRange(w, r, content) }},
		{name: "from the middle", offset: 5001, serve: func(_ int, w http.ResponseWriter, r *http.Request) { serveRange(w, r, content) }},
		{name: "at the end", offset: 10000, serve: func(_ int, w http.ResponseWriter, r *http.Request) { serveRange(w, r, content) }},
		{name: "no ranges", offset: 5001, serve: func(_ int, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, content) }},
		{name: "breaks", serve: func(n int, w http.ResponseWriter, r *http.Request) {
			if n < 4 {
				w = &breaking{ResponseWriter: w, left: 1500}
			}
			serveRange(w, r, content)
		}},
		{name: "stalls", serve: func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				w.Header().Set("Content-Length", "10000")
				io.WriteString(w, content[:100])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			serveRange(w, r, content)
		}},
		{name: "too short", serve: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			io.WriteString(w, content[:9999])
		}, wantErr: "9999 bytes long"},
		{name: "too long", serve: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10001")
			io.WriteString(w, content+"x")
		}, wantErr: "10001 bytes long"},
		{name: "endless", serve: func(_ int, w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(w, content)
			}
		}, wantErr: "longer than the 10000 bytes"},
		{name: "wrong range", offset: 10, serve: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9989/10000")
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, content[:9990])
		}, wantErr: "asked for bytes from 10 on"},
		{name: "missing", serve: func(_ int, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}`)
		}, wantErr: "blob unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					return
				}
				n++
				c.serve(n, w, r)
			})
			got, err := fetch(t, open(t, h, Options{Stall: 300 * time.Millisecond}), d, c.offset)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("got %d bytes, %v; want %q", len(got), err, c.wantErr)
				}
				return
			}
			if err != nil || got != content[c.offset:] {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			for _, r := range h.ranges {
				if strings.HasSuffix(r, "-") {
					t.Errorf("asked for the open range %q", r)
				}
			}
		})
	}
}

func serveRange(w http.ResponseWriter, r *http.Request, content string) {
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

// breaking closes the connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if len(p) > b.left {
		b.ResponseWriter.Write(p[:b.left])
		b.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

func TestManifest(t *testing.T) {
	const doc = `{"schemaVersion":2}`
	digest := oci.DigestOf([]byte(doc))
	status, body, header := 200, doc, ""
	h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		if header != "" {
			w.Header().Set("Docker-Content-Digest", header)
		}
		w.Header().Set("Content-Type", oci.MediaTypeManifest)
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	r := open(t, h, Options{})
	d, got, err := r.Manifest(t.Context(), "1")
	if err != nil || string(got) != doc || d.Digest != digest || d.MediaType != oci.MediaTypeManifest {
		t.Fatalf("%+v, %q, %v", d, got, err)
	}
	if d, err = r.Resolve(t.Context(), "1"); err != nil || d.Digest != digest { // by GET: there is no digest header
		t.Fatalf("%+v, %v", d, err)
	}
	header = string(digest)
	if d, err = r.Resolve(t.Context(), "1"); err != nil || d.Digest != digest || d.Size != int64(len(doc)) {
		t.Fatalf("%+v, %v", d, err)
	}
	other := string(oci.DigestOf([]byte("other")))
	for name, change := range map[string]func() string{
		"other content for a digest": func() string { header = ""; return other },
		"header of other content":    func() string { header = other; return "1" },
		"too large":                  func() string { header, body = "", strings.Repeat(" ", oci.MaxDocument+1); return "1" },
		"unknown": func() string {
			status, body = 404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown\u001b[2J","detail":{}}]}`
			return "1"
		},
	} {
		status, body, header = 200, doc, ""
		ref := change()
		if _, _, err := r.Manifest(t.Context(), ref); err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		status     int
		code, want string
		kind       errdefs.Kind
	}{
		{404, "MANIFEST_UNKNOWN", "manifest for %s:1 not found: manifest unknown: m", errdefs.NotFound},
		{404, "NAME_UNKNOWN", "pull access denied for %s, repository does not exist or may require 'berth login': name unknown: m", errdefs.NotFound},
		{401, "UNAUTHORIZED", "pull access denied for %s, repository does not exist or may require 'berth login': unauthorized: m", errdefs.Unauthorized},
		{403, "DENIED", "pull access denied for %s, repository does not exist or may require 'berth login': denied: m", errdefs.Unauthorized},
		{418, "", "cannot pull %s: the registry answers 418 I'm a teapot", errdefs.Internal},
	} {
		h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.status)
			if c.code != "" {
				fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"m"}]}`, c.code)
			}
		})
		_, _, err := open(t, h, Options{}).Manifest(t.Context(), "1")
		want := fmt.Sprintf(c.want, h.addr()+"/team/app")
		if err == nil || err.Error() != want || errdefs.KindOf(err) != c.kind {
			t.Errorf("got %v (%v)\nwant %s", err, errdefs.KindOf(err), want)
		}
	}
	n, err := reference.ParseExact("127.0.0.1:1/app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), n, Options{}); !errors.Is(err, errdefs.Unavailable) || errdefs.HintOf(err) == "" {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestRetry(t *testing.T) {
	n := 0
	h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, `{"schemaVersion":2}`)
	})
	if _, _, err := open(t, h, Options{}).Manifest(t.Context(), "1"); err != nil || n != 3 {
		t.Fatalf("%v after %d requests", err, n)
	}
}

func TestTags(t *testing.T) {
	b := newHost(t, false, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"tags":["evil"]}`) })
	h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("last") == "" {
			w.Header().Set("Link", "<"+b.URL+`/v2/other/tags/list?last=b&n=2>; rel="next"`)
			io.WriteString(w, `{"name":"team/app","tags":["a","b"]}`)
			return
		}
		io.WriteString(w, `{"name":"team/app","tags":["c"]}`)
	})
	r := open(t, h, Options{})
	tags, err := r.Tags(t.Context())
	if err != nil || strings.Join(tags, " ") != "a b c" {
		t.Fatalf("%q, %v", tags, err)
	}
	h.handle = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"tags":["../x"]}`) }
	if _, err := r.Tags(t.Context()); err == nil {
		t.Fatal("a path was taken for a tag")
	}
}
