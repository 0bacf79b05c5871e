package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"berth/internal/errdefs"
	"berth/internal/linux/rootpath"
	"berth/internal/oci"
)

func fileServer(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/a/file.txt", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT")
		fmt.Fprint(w, "hello")
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/a/file.txt", http.StatusFound) })
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000") })
	mux.HandleFunc("/short", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "hello")
	})
	mux.HandleFunc("/silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/private", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "index") })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestGet(t *testing.T) {
	s := fileServer(t)
	hello := oci.DigestOf([]byte("hello"))
	for path, want := range map[string]struct {
		name, content string
		mtime         int64
	}{
		"/a/file.txt":   {"file.txt", "hello", 1e9},
		"/a/file.txt?x": {"file.txt", "hello", 1e9},
		"/moved":        {"moved", "hello", 1e9},
		"/":             {"__unnamed__", "index", 0},
		"":              {"__unnamed__", "index", 0},
	} {
		tmp := t.TempDir()
		var done int64
		o := GetOptions{Progress: func(n, _ int64) { done = n }, MaxSize: 5}
		if want.content == "hello" {
			o.Checksum = hello
		}
		tree, err := Get(context.Background(), s.URL+path, tmp, o)
		must(t, err)
		content, err := tree.ReadFile(tree.File, 100)
		must(t, err)
		st, err := rootpath.Stat(tree.Root(), tree.File)
		must(t, err)
		if tree.File != want.name || string(content) != want.content || st.Mtim.Sec != want.mtime || st.Mode&0o7777 != 0o600 || done != 5 {
			t.Errorf("%s: %s holds %q, %o, of %d; %d bytes", path, tree.File, content, st.Mode, st.Mtim.Sec, done)
		}
		if *tree.Origin != (Origin{URL: s.URL + path, Digest: oci.DigestOf(content)}) {
			t.Errorf("%s: came from %+v", path, tree.Origin)
		}
		must(t, tree.Close())
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("%s leaves %v", path, left)
		}
	}
}

func TestGetErrors(t *testing.T) {
	s := fileServer(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	secret := strings.Replace(closed.URL, "http://", "http://u:SECRET@", 1)
	for address, want := range map[string]struct {
		kind errdefs.Kind
		text string
		o    GetOptions
	}{
		s.URL + "/none":       {errdefs.NotFound, "invalid response status 404 Not Found", GetOptions{}},
		s.URL + "/private":    {errdefs.Unauthorized, "401", GetOptions{}},
		s.URL + "/loop":       {errdefs.Unavailable, "10 redirects", GetOptions{}},
		s.URL + "/short":      {errdefs.Unavailable, "unexpected EOF", GetOptions{}},
		s.URL + "/large":      {errdefs.Exhausted, "larger than 100 bytes", GetOptions{MaxSize: 100}},
		s.URL + "/endless":    {errdefs.Exhausted, "larger than 100 bytes", GetOptions{MaxSize: 100}},
		s.URL + "/a/file.txt": {errdefs.Conflict, "digest mismatch sha256:", GetOptions{Checksum: oci.DigestOf(nil)}},
		secret + "/x":         {errdefs.Unavailable, "refused", GetOptions{}},
		s.URL + "/moved":      {errdefs.InvalidArgument, "invalid digest", GetOptions{Checksum: "sha256:../../x"}},
		"ftp://h/f":           {errdefs.InvalidArgument, "is not a URL", GetOptions{}},
		"file:///etc/passwd":  {errdefs.InvalidArgument, "is not a URL", GetOptions{}},
		"http://":             {errdefs.InvalidArgument, "is not a URL", GetOptions{}},
		"http://u:SECRET@h /": {errdefs.InvalidArgument, "is not a URL", GetOptions{}},
	} {
		tmp := t.TempDir()
		_, err := Get(context.Background(), address, tmp, want.o)
		if !errors.Is(err, want.kind) || !strings.Contains(err.Error(), want.text) || strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", address, err)
		}
		if left, _ := os.ReadDir(tmp); len(left) != 0 {
			t.Errorf("%s leaves %v", address, left)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := Get(ctx, s.URL+"/silent", t.TempDir(), GetOptions{}); !errors.Is(err, errdefs.Cancelled) || time.Since(start) > 5*time.Second {
		t.Errorf("silent: %v after %v", err, time.Since(start))
	}
}

// TestGetKeepsPasswords: who is redirected elsewhere takes no password along.
func TestGetKeepsPasswords(t *testing.T) {
	var got string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Get("Authorization") }))
	defer other.Close()
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, http.StatusFound) }))
	defer first.Close()
	tree, err := Get(context.Background(), strings.Replace(first.URL, "http://", "http://u:p@", 1)+"/f", t.TempDir(), GetOptions{})
	must(t, err)
	defer tree.Close()
	if got != "" {
		t.Errorf("the other host got %q", got)
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"http://h/a/b", "http://h/..", "http://h/%2e%2e/%2f", "http://h/a%00b", "http://h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		if name := fileName(u); name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || len(name) > 255 {
			t.Errorf("the file of %q is called %q", s, name)
		}
	})
}
