package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/reference"
)

// TestBlobRanges asks for parts of a blob.
func TestBlobRanges(t *testing.T) {
	d := descriptor(content)
	for _, ranges := range []bool{true, false} {
		h := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
			if !ranges {
				r.Header.Del("Range")
			}
			serveRange(w, r, content)
		})
		r := open(t, h, Options{})
		for _, c := range [][2]int64{{0, 10}, {10, 20}, {20, d.Size}, {0, d.Size}, {5, 5}, {d.Size, d.Size}} {
			body, whole, err := r.Blob(t.Context(), d, c[0], c[1])
			if err != nil {
				t.Fatal(err)
			}
			asked := c[0] < c[1] && c[1]-c[0] < d.Size
			if whole != (asked && !ranges) {
				t.Errorf("%v, ranges %v: whole %v", c, ranges, whole)
			}
			want := content[c[0]:c[1]]
			if whole {
				want = content[c[0]:]
			}
			got, err := io.ReadAll(body)
			if err != nil || string(got) != want {
				t.Errorf("%v, ranges %v: got %q, %v", c, ranges, got, err)
			}
			body.Close()
		}
		for _, c := range [][2]int64{{-1, 3}, {3, 2}, {0, d.Size + 1}} {
			if _, _, err := r.Blob(t.Context(), d, c[0], c[1]); err == nil {
				t.Errorf("%v was fetched", c)
			}
		}
	}
}

// TestRangeAfterRedirect: most registries send on to another host for blobs. The
// range goes along, the credentials do not.
func TestRangeAfterRedirect(t *testing.T) {
	d := descriptor(content)
	storage := newHost(t, false, func(w http.ResponseWriter, r *http.Request) { serveRange(w, r, content) })
	h := newHost(t, false, login(redirect(storage, 307)))
	r := open(t, h, Options{Credentials: only(h.addr(), auth.Credential{Username: user, Password: password})})
	body, whole, err := r.Blob(t.Context(), d, 10, 20)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err != nil || whole || string(got) != content[10:20] {
		t.Errorf("got %q, whole %v, %v", got, whole, err)
	}
	if seen := storage.seen(); len(seen) > 0 || len(h.seen()) == 0 || storage.ranges[0] != "bytes=10-19" {
		t.Errorf("the storage saw %q and was asked for %q", seen, storage.ranges)
	}
}

// FuzzRangeAnswer lets a server answer anything: what is read is never more
// than was asked for, and never less without an error.
func FuzzRangeAnswer(f *testing.F) {
	f.Add(206, "bytes 10-19/36", int64(10), []byte("abcdefghij"))
	f.Add(206, "bytes 0-9/36", int64(-1), []byte("abcdefghij"))
	f.Add(206, "bytes 10-19/*", int64(3), []byte("abc"))
	f.Add(200, "", int64(36), []byte(content))
	f.Add(416, "bytes */36", int64(0), []byte{})
	name, err := reference.ParseExact("registry.example/app")
	if err != nil {
		f.Fatal(err)
	}
	d := descriptor(content)
	f.Fuzz(func(t *testing.T, status int, contentRange string, length int64, body []byte) {
		if status < 200 || status > 599 || status == 401 || status >= 300 && status < 400 || bytes.ContainsAny([]byte(contentRange), "\r\n") {
			t.Skip()
		}
		n := 0
		transport := roundTrip(func(req *http.Request) (*http.Response, error) {
			if n++; n > 1 {
				return &http.Response{StatusCode: 404, Body: http.NoBody, Header: http.Header{}, Request: req}, nil
			}
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Range": {contentRange}}, ContentLength: max(length, -1),
				Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
		})
		r := &Repository{name: name, base: "https://registry.example/v2/app", host: "registry.example", stall: time.Minute,
			http: &auth.Client{Client: &http.Client{Transport: transport}}}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // less than a reconnection waits
		defer cancel()
		b, whole, err := r.Blob(ctx, d, 10, 20)
		if err != nil {
			return
		}
		defer b.Close()
		want := int64(10)
		if whole {
			want = d.Size - 10
		}
		got, err := io.ReadAll(b)
		if int64(len(got)) > want || err == nil && int64(len(got)) != want {
			t.Errorf("%d bytes of %d, %v", len(got), want, err)
		}
	})
}

// TestProxy asks through a proxy. net/http reads the environment once, so a
// process of its own does it.
func TestProxy(t *testing.T) {
	if os.Getenv("BERTH_TEST_PROXIED") != "" {
		n, err := reference.ParseExact("registry.test:5000/app")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(t.Context(), n, Options{Insecure: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Manifest(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
		return
	}
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		if r.Method == http.MethodConnect {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.WriteString(w, `{"schemaVersion":2}`)
	}))
	defer proxy.Close()
	for _, direct := range []bool{false, true} {
		asked = nil
		cmd := exec.Command(os.Args[0], "-test.run", "^TestProxy$")
		cmd.Env = append(os.Environ(), "BERTH_TEST_PROXIED=1", "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=")
		if direct {
			cmd.Env = append(cmd.Env, "NO_PROXY=registry.test")
		}
		out, err := cmd.CombinedOutput()
		if direct {
			if err == nil || len(asked) > 0 {
				t.Errorf("NO_PROXY: %v, asked %q", err, asked)
			}
			continue
		}
		if err != nil || !strings.Contains(strings.Join(asked, " "), "CONNECT registry.test:5000") ||
			!strings.Contains(strings.Join(asked, " "), "GET http://registry.test:5000/v2/app/manifests/1") {
			t.Errorf("%v, asked %q\n%s", err, asked, out)
		}
	}
}

// TestMirrorPatience does not wait for a mirror as for a registry.
func TestMirrorPatience(t *testing.T) {
	d := descriptor(content)
	mirror := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", strconv.Itoa(60))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	begin := time.Now()
	got, err := fetchFrom(t, sourceOf(t, newHost(t, false, serveAll), Options{}, mirror), d)
	if err != nil || got != content || time.Since(begin) > 20*time.Second {
		t.Errorf("got %q, %v after %s", got, err, time.Since(begin))
	}
}
