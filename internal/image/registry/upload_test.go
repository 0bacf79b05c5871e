package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/errdefs"
	"berth/internal/oci"
	"berth/internal/reference"
)

// taker is a registry that takes uploads. Tests make it misbehave.
type taker struct {
	*httptest.Server
	mu       sync.Mutex
	blobs    map[string]string
	sessions map[string]*bytes.Buffer
	log      []string
	// before, if not nil, may answer a request itself and return true.
	before func(t *taker, w http.ResponseWriter, r *http.Request) bool
}

func newTaker(t *testing.T) *taker {
	t.Helper()
	k := &taker{blobs: map[string]string{}, sessions: map[string]*bytes.Buffer{}}
	k.Server = httptest.NewServer(k)
	t.Cleanup(k.Close)
	return k
}

func (k *taker) repository(t *testing.T, o Options) *Repository {
	t.Helper()
	n, err := reference.ParseExact(strings.TrimPrefix(k.URL, "http://") + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), n, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// requests returns what was asked for, without the probes, and how often.
func (k *taker) requests(prefix string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func (k *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.log = append(k.log, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Range"))
	before := k.before
	k.mu.Unlock()
	if r.URL.Path == "/v2/" {
		return
	}
	if before != nil && before(k, w, r) {
		return
	}
	if r.Method == http.MethodPatch { // without the lock: a test may stop the body
		k.take(w, r)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch {
	case r.Method == http.MethodHead:
		if b, ok := k.blobs[name]; ok {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		} else {
			w.WriteHeader(http.StatusNotFound)
		}
	case r.Method == http.MethodPost:
		if mount := r.URL.Query().Get("mount"); mount != "" && r.URL.Query().Get("from") == "other/app" {
			k.blobs[mount] = "mounted"
			w.WriteHeader(http.StatusCreated)
			return
		}
		id := fmt.Sprint("s", len(k.sessions))
		k.sessions[id] = &bytes.Buffer{}
		w.Header().Set("Location", "/v2/team/app/blobs/uploads/"+id+"?_state=x%2By")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodDelete:
		delete(k.sessions, name)
		w.WriteHeader(http.StatusNoContent)
	case k.sessions[name] == nil:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet:
		k.ranged(w, name)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		k.put(w, r, name)
	}
}

func (k *taker) put(w http.ResponseWriter, r *http.Request, name string) {
	content := k.sessions[name].String()
	if want := r.URL.Query().Get("digest"); string(oci.DigestOf([]byte(content))) != want || r.URL.Query().Get("_state") != "x+y" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match uploaded content"}]}`)
		return
	}
	k.blobs[r.URL.Query().Get("digest")] = content
	w.WriteHeader(http.StatusCreated)
}

func (k *taker) ranged(w http.ResponseWriter, name string) {
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, k.sessions[name].Len()-1)))
	w.Header().Set("Location", "/v2/team/app/blobs/uploads/"+name+"?_state=x%2By")
}

func (k *taker) take(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	k.mu.Lock()
	s := k.sessions[name]
	k.mu.Unlock()
	if s == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if c := r.Header.Get("Content-Range"); c != "" && !strings.HasPrefix(c, fmt.Sprintf("%d-", s.Len())) {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	_, err := io.Copy(s, r.Body)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.ranged(w, name)
		w.WriteHeader(http.StatusAccepted)
	}
}

// once returns a misbehaviour that strikes so many times.
func once(times int, method string, do func(k *taker, w http.ResponseWriter, r *http.Request)) func(*taker, http.ResponseWriter, *http.Request) bool {
	return func(k *taker, w http.ResponseWriter, r *http.Request) bool {
		k.mu.Lock()
		hit := times > 0 && r.Method == method
		if hit {
			times--
		}
		k.mu.Unlock()
		if hit {
			do(k, w, r)
		}
		return hit
	}
}

// takeSome takes n bytes of a PATCH and breaks the connection.
func takeSome(n int64) func(*taker, http.ResponseWriter, *http.Request) {
	return func(k *taker, w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		s := k.sessions[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
		k.mu.Unlock()
		io.CopyN(s, r.Body, n) //nolint:errcheck // the client hangs up
		panic(http.ErrAbortHandler)
	}
}

func status(code int, body string) func(*taker, http.ResponseWriter, *http.Request) {
	return func(_ *taker, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		io.WriteString(w, body) //nolint:errcheck // the client sees it
	}
}

func TestUpload(t *testing.T) {
	content := strings.Repeat("0123456789", 100_000)
	large := strings.Repeat("x", 2*chunkSize+5)
	for name, tt := range map[string]struct {
		content string
		before  func(*taker, http.ResponseWriter, *http.Request) bool
		patches int // 0: one
		kind    errdefs.Kind
		fails   bool
	}{
		"whole":              {content: content},
		"nothing":            {content: ""},
		"broken":             {content: content, before: once(1, http.MethodPatch, takeSome(500_001)), patches: 2},
		"broken three times": {content: content, before: once(3, http.MethodPatch, takeSome(100_000)), patches: 4},
		"always broken":      {content: content, before: once(1e6, http.MethodPatch, takeSome(0)), fails: true, kind: errdefs.Unavailable},
		"busy at the end":    {content: content, before: once(2, http.MethodPut, status(503, ""))},
		"answer lost": {content: content, before: once(1, http.MethodPut, func(k *taker, w http.ResponseWriter, r *http.Request) {
			k.mu.Lock()
			k.put(httptest.NewRecorder(), r, "s0")
			delete(k.sessions, "s0")
			k.mu.Unlock()
			panic(http.ErrAbortHandler)
		})},
		"session gone": {content: content, patches: 2, before: once(1, http.MethodPatch, func(k *taker, w http.ResponseWriter, r *http.Request) {
			k.mu.Lock()
			clear(k.sessions)
			k.sessions["gone"] = &bytes.Buffer{}
			k.mu.Unlock()
			panic(http.ErrAbortHandler)
		})},
		"small requests only": {content: large, patches: 4, before: func(k *taker, w http.ResponseWriter, r *http.Request) bool {
			if r.ContentLength > chunkSize {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			return false
		}},
		"too large at all": {content: content, before: once(1e6, http.MethodPatch, status(413, "")), fails: true, kind: errdefs.Exhausted},
		"other bytes":      {content: content, before: once(1e6, http.MethodPut, status(400, `{"errors":[{"code":"DIGEST_INVALID","message":"provided digest did not match"}]}`)), fails: true, kind: errdefs.Internal, patches: maxRestarts + 1},
		"disk full":        {content: content, before: once(1e6, http.MethodPatch, status(507, `{"errors":[{"code":"UNKNOWN","message":"no space left on device"}]}`)), fails: true, kind: errdefs.Exhausted},
		"denied":           {content: content, before: once(1e6, http.MethodPost, status(403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`)), fails: true, kind: errdefs.Forbidden, patches: -1},
		"no place": {content: content, before: once(1e6, http.MethodPost, func(_ *taker, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusAccepted)
		}), fails: true, kind: errdefs.Internal, patches: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newTaker(t)
			k.before = tt.before
			r := k.repository(t, Options{Stall: 5 * time.Second})
			d := descriptor(tt.content)
			var sent int64
			err := r.Upload(t.Context(), d, strings.NewReader(tt.content), func(n int64) { sent = n })
			if tt.fails {
				if err == nil || errdefs.KindOf(err) != tt.kind {
					t.Errorf("got %v (%v)", err, errdefs.KindOf(err))
				}
			} else if err != nil || k.blobs[string(d.Digest)] != tt.content || sent != d.Size {
				t.Errorf("%v; the registry has %d of %d bytes, told %d", err, len(k.blobs[string(d.Digest)]), d.Size, sent)
			}
			want := tt.patches
			if want == 0 {
				want = 1
			}
			if n := k.requests(http.MethodPatch); !tt.fails && tt.content != "" && n != want || tt.fails && tt.patches != 0 && n != max(0, tt.patches) {
				t.Errorf("%d requests with content, want %d", n, want)
			}
		})
	}
}

func TestUploadStalls(t *testing.T) {
	content := strings.Repeat("0123456789", 1_000_000)
	k := newTaker(t)
	release := make(chan struct{})
	defer close(release)
	k.before = once(1, http.MethodPatch, func(*taker, http.ResponseWriter, *http.Request) { <-release })
	r := k.repository(t, Options{Stall: 200 * time.Millisecond})
	if err := r.Upload(t.Context(), descriptor(content), strings.NewReader(content), func(int64) {}); err != nil {
		t.Error(err)
	}
	if n := k.requests(http.MethodPatch); n != 2 {
		t.Errorf("%d requests with content", n)
	}
}

func TestUploadCancelled(t *testing.T) {
	content := strings.Repeat("0123456789", 1_000_000)
	k := newTaker(t)
	release := make(chan struct{})
	defer close(release)
	k.before = once(1, http.MethodPatch, func(*taker, http.ResponseWriter, *http.Request) { <-release })
	r := k.repository(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errdefs.New(errdefs.Cancelled, "enough")
	time.AfterFunc(100*time.Millisecond, func() { cancel(stop) })
	if err := r.Upload(ctx, descriptor(content), strings.NewReader(content), func(int64) {}); err != stop { //nolint:errorlint // this very one
		t.Errorf("got %v", err)
	}
}

func TestMount(t *testing.T) {
	k := newTaker(t)
	r := k.repository(t, Options{})
	for from, want := range map[string]bool{"other/app": true, "unknown/app": false} {
		n, err := reference.ParseExact("r.example/" + from)
		if err != nil {
			t.Fatal(err)
		}
		d := descriptor(from)
		if got, err := r.Mount(t.Context(), d, n); err != nil || got != want {
			t.Errorf("from %s: %v, %v", from, got, err)
		}
		if has, err := r.HasBlob(t.Context(), d); err != nil || has && !want {
			t.Errorf("from %s: has %v, %v", from, has, err)
		}
	}
	if len(k.sessions) != 0 {
		t.Error("the upload that a registry began in a mount's place is left")
	}
}

// TestUploadCredentialsStay lets registry A send the client on to B, in each
// answer of an upload. B never sees A's credentials.
func TestUploadCredentialsStay(t *testing.T) {
	const content = "blob"
	d := descriptor(content)
	for _, step := range []string{http.MethodPost, http.MethodPatch, http.MethodPut} {
		for _, how := range []string{"location", "307", "308"} {
			t.Run(step+" "+how, func(t *testing.T) {
				b := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", "/there")
					w.WriteHeader(map[string]int{http.MethodPut: http.StatusCreated}[r.Method] + map[bool]int{true: 0, false: http.StatusAccepted}[r.Method == http.MethodPut])
				})
				k := newTaker(t)
				k.before = func(_ *taker, w http.ResponseWriter, r *http.Request) bool {
					if r.Header.Get("Authorization") != basic() {
						w.Header().Set("WWW-Authenticate", `Basic realm="a"`)
						w.WriteHeader(http.StatusUnauthorized)
						return true
					}
					if r.Method != step {
						return false
					}
					w.Header().Set("Location", b.URL+"/there")
					switch how {
					case "307":
						w.WriteHeader(http.StatusTemporaryRedirect)
					case "308":
						w.WriteHeader(http.StatusPermanentRedirect)
					default:
						io.Copy(io.Discard, r.Body) //nolint:errcheck // it is small
						w.WriteHeader(http.StatusAccepted)
					}
					return true
				}
				addr := strings.TrimPrefix(k.URL, "http://")
				r := k.repository(t, Options{Credentials: func(_ context.Context, host string) (auth.Credential, error) {
					if host == addr {
						return auth.Credential{Username: user, Password: password}, nil
					}
					return auth.EmptyCredential, nil
				}})
				_ = r.Upload(t.Context(), d, strings.NewReader(content), func(int64) {}) //nolint:errcheck // whether it succeeds is not the question
				if k.requests("POST") < 1 {
					t.Error("nothing was uploaded")
				}
				if s := b.seen(); len(s) > 0 {
					t.Errorf("B saw %q", s)
				}
			})
		}
	}
}

// FuzzReceived: no header of a registry is taken for more or less than it says.
func FuzzReceived(f *testing.F) {
	for _, s := range []string{"0-0", "0-99", "bytes=0-99", "1-2", "0--1", "0-9223372036854775807", "", "-", "0-1-2", "0-+5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := parseReceived(s)
		if n < 0 || !ok && n != 0 {
			t.Fatalf("%q: %d, %v", s, n, ok)
		}
		if ok && n > 0 && strings.TrimLeft(strings.TrimPrefix(strings.TrimPrefix(s, "bytes="), "0-"), "0") != fmt.Sprint(n-1) {
			t.Fatalf("%q was read as %d", s, n)
		}
	})
}

// FuzzLocation: where an upload goes on is a web address without credentials.
func FuzzLocation(f *testing.F) {
	for _, s := range []string{"/v2/x", "https://b.example/x?y", "//b.example", "file:///x", "http://u:p@b.example/", "", ":", "?x", "\x00"} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "https", Host: "a.example", Path: "/v2/x/blobs/uploads/"}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := location(&http.Response{Header: http.Header{"Location": {s}}, Request: &http.Request{URL: base}})
		if err == nil && (at.Host == "" || at.User != nil || at.Scheme != "https" && at.Scheme != "http") {
			t.Fatalf("%q leads to %s", s, at)
		}
	})
}

// FuzzChallenge: whatever a registry says of how to log in, the client neither
// crashes nor sends the password to anybody else.
func FuzzChallenge(f *testing.F) {
	for _, s := range []string{`Basic realm="a"`, `Bearer realm="http://127.0.0.1:1/token",service="x",scope="y"`, `Bearer realm=`, `Bearer realm="//x"`, `Negotiate`, "", `Basic`, `Bearer realm="https://a.example@127.0.0.1/"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, challenge string) {
		o := Options{Credentials: func(context.Context, string) (auth.Credential, error) {
			return auth.Credential{Username: user, Password: password}, nil
		}}
		n, err := reference.ParseExact("r.example/x")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(t.Context(), n, o)
		if err != nil {
			t.Fatal(err)
		}
		base := roundTrip(func(req *http.Request) (*http.Response, error) {
			if req.URL.Hostname() != "r.example" && req.URL.Hostname() != "auth.r.example" && secret(req) {
				t.Errorf("%q: %s was sent to %s", challenge, req.Header.Get("Authorization"), req.URL)
			}
			return &http.Response{StatusCode: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {challenge}}, Body: http.NoBody, Request: req}, nil
		})
		r.http.Client = &http.Client{Transport: &guard{base: base, scheme: "https", host: "r.example"}}
		if _, err := r.HasBlob(t.Context(), descriptor("x")); err == nil {
			t.Error("the registry let us in")
		}
	})
}

// TestUploadToken gets a token that allows what is done, once for each set of rights.
func TestUploadToken(t *testing.T) {
	k := newTaker(t)
	var asked []string
	k.before = func(_ *taker, w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			scopes := strings.Join(r.URL.Query()["scope"], " ")
			asked = append(asked, scopes)
			fmt.Fprintf(w, `{"token":%q}`, scopes)
			return true
		}
		need := "repository:team/app:pull,push"
		if from := r.URL.Query().Get("from"); from != "" {
			need = "repository:" + from + ":pull " + need
		}
		if got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); got != need {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+k.URL+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		return false
	}
	r := k.repository(t, Options{})
	d := descriptor("content")
	if has, err := r.HasBlob(t.Context(), d); err != nil || has {
		t.Fatal(has, err)
	}
	from, err := reference.ParseExact("r.example/other/app")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := r.Mount(t.Context(), descriptor("mounted"), from); err != nil || !ok {
		t.Errorf("mount: %v, %v", ok, err)
	}
	if err := r.Upload(t.Context(), d, strings.NewReader("content"), func(int64) {}); err != nil {
		t.Error(err)
	}
	if len(asked) != 2 {
		t.Errorf("asked for tokens %q", asked)
	}
}
