package registry

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/image/imagetest"
	"berth/internal/image/registry/hosts"
	"berth/internal/reference"
)

// checked checks an image of a host and returns what was found of the last one
// that is asked, by step.
func checked(t *testing.T, h *host, o Options) (steps map[string]Finding, all []Checked) {
	t.Helper()
	n, err := reference.ParseExact(h.addr() + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), n, true, o, func(c Checked) { all = append(all, c) }); err != nil {
		t.Fatal(err)
	}
	steps = map[string]Finding{}
	for _, f := range all[len(all)-1].Findings {
		steps[f.Step] = f
	}
	return steps, all
}

// images serves one image in memory.
func images() http.HandlerFunc {
	r := imagetest.NewRegistry()
	r.Push("1", imagetest.Image{Layers: []imagetest.Layer{{{Name: "a", Body: "a"}}}}.Build())
	return r.ServeHTTP
}

func TestCheck(t *testing.T) {
	serve := images()
	for _, c := range []struct {
		name   string
		tls    bool
		serve  http.HandlerFunc
		cred   auth.Credential
		failed string // the step where it ends, "" for none
		want   map[string]string
	}{
		{name: "all works", serve: serve, want: map[string]string{
			"tcp": "answers after", "tls": "plain HTTP", "api": "/v2/ answers 200", "auth": "nobody asks", "image": "sha256:", "ranges": "yes"}},
		{name: "TLS", tls: true, serve: serve, want: map[string]string{"tls": "TLS 1.3", "ranges": "yes"}},
		{name: "no ranges", serve: func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); serve(w, r) },
			want: map[string]string{"ranges": "none"}},
		{name: "credentials", cred: auth.Credential{Username: user, Password: password}, serve: login(serve),
			want: map[string]string{"api": "/v2/ answers 401", "auth": "Basic, as " + user, "ranges": "yes"}},
		{name: "wrong credentials", cred: auth.Credential{Username: user, Password: "guess"}, serve: login(serve),
			failed: "auth", want: map[string]string{"auth": "401"}},
		{name: "no credentials", serve: login(serve), failed: "auth", want: map[string]string{"auth": "wants a user"}},
		{name: "no registry", serve: http.NotFound, failed: "api", want: map[string]string{"api": "answers 404"}},
		{name: "no image", serve: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusNotFound)
			}
		}, failed: "image", want: map[string]string{"image": "not found"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, c.tls, c.serve)
			steps, all := checked(t, h, Options{Credentials: only(h.addr(), c.cred)})
			if all[0].Works() != (c.failed == "") {
				t.Errorf("%+v", steps)
			}
			for step, want := range c.want {
				if f := steps[step]; !strings.Contains(f.Detail, want) || f.Works == (step == c.failed) || !f.Works && f.Advice == "" && step != "image" {
					t.Errorf("%s: %+v, want %q", step, f, want)
				}
			}
			for _, f := range steps {
				if strings.Contains(f.Detail+f.Advice, password) {
					t.Errorf("%s tells the password: %q", f.Step, f.Detail)
				}
			}
		})
	}
}

// login is basicThen for all paths.
func login(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != basic() {
			w.Header().Set("WWW-Authenticate", `Basic realm="a"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next(w, r)
	}
}

// TestCheckMirrors shows all hosts in the order of asking, the broken ones too.
func TestCheckMirrors(t *testing.T) {
	mirror, origin := newHost(t, false, http.NotFound), newHost(t, false, images())
	mirror.Close()
	_, all := checked(t, origin, Options{Hosts: hosts.Config{Mirrors: origin.addr() + " = " + mirror.URL, Source: "test"}})
	if len(all) != 2 || all[0].Host.Addr != mirror.addr() || all[0].Works() || !all[1].Works() {
		t.Errorf("%+v", all)
	}
}

// TestCertificateOfHost trusts an authority of certs.d for its host alone. The
// name of the host must not be one of this machine, whose certificates nobody checks.
func TestCertificateOfHost(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	defer s.Close()
	dir := t.TempDir()
	for _, trusted := range []bool{false, true} {
		if trusted {
			ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			if err := os.MkdirAll(filepath.Join(dir, "example.com"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "example.com/ca.crt"), ca, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n, err := reference.ParseExact("example.com/app") // in the test server's certificate
		if err != nil {
			t.Fatal(err)
		}
		at, err := hosts.Config{Dirs: []string{dir}}.Registry(n)
		if err != nil {
			t.Fatal(err)
		}
		transport, err := newTransport(Options{}, at)
		if err != nil {
			t.Fatal(err)
		}
		config := transport.TLSClientConfig
		if config == nil {
			config = &tls.Config{}
		}
		config = config.Clone()
		config.ServerName = "example.com"
		conn, err := tls.Dial("tcp", s.Listener.Addr().String(), config)
		if (err == nil) != trusted {
			t.Errorf("trusted %v: %v", trusted, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}
