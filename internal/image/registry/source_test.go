package registry

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/errdefs"
	"berth/internal/image/registry/hosts"
	"berth/internal/oci"
	"berth/internal/reference"
)

// content is what every host of these tests has.
const content = "0123456789abcdefghijklmnopqrstuvwxyz"

func serveAll(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/v2/":
	case strings.Contains(r.URL.Path, "/manifests/"):
		io.WriteString(w, `{"schemaVersion":2}`)
	default:
		serveRange(w, r, content)
	}
}

func sourceOf(t *testing.T, origin *host, o Options, mirrors ...*host) *Source {
	t.Helper()
	n, err := reference.ParseExact(origin.addr() + "/team/app")
	if err != nil {
		t.Fatal(err)
	}
	if len(mirrors) > 0 {
		line := origin.addr() + " ="
		for _, m := range mirrors {
			line += " " + m.URL + "/copy"
		}
		o.Hosts = hosts.Config{Mirrors: line, Source: "test"}
	}
	s, err := OpenSource(n, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fetchFrom(t *testing.T, s *Source, d oci.Descriptor) (string, error) {
	t.Helper()
	r, _, err := s.Blob(t.Context(), d, 0, d.Size)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// TestMirrorsInOrder asks the first mirror that works, and the registry last.
func TestMirrorsInOrder(t *testing.T) {
	d := descriptor(content)
	broken := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotImplemented) }
	lacking := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) }
	for _, c := range []struct {
		name          string
		first, second http.HandlerFunc
		want          string // who is asked for the blob
	}{
		{"the first works", serveAll, serveAll, "1"},
		{"the first has nothing", lacking, serveAll, "1 2"},
		{"the first is broken", broken, serveAll, "1 2"},
		{"none works", broken, lacking, "1 2 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked []string
			spy := func(who string, next http.HandlerFunc) http.HandlerFunc {
				return func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "/blobs/") {
						asked = append(asked, who)
					}
					next(w, r)
				}
			}
			one, two, origin := newHost(t, false, spy("1", c.first)), newHost(t, false, spy("2", c.second)), newHost(t, false, spy("3", serveAll))
			got, err := fetchFrom(t, sourceOf(t, origin, Options{}, one, two), d)
			if err != nil || got != content || strings.Join(asked, " ") != c.want {
				t.Errorf("got %q, %v; asked %q", got, err, asked)
			}
		})
	}
}

// TestMirrorSeesNothing: what is for the registry does not reach a mirror, and
// the other way round.
func TestMirrorSeesNothing(t *testing.T) {
	d := descriptor(content)
	var paths []string
	needsLogin := func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path+"?"+r.URL.RawQuery)
		w.Header().Set("WWW-Authenticate", `Basic realm="a"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
	mirror, origin := newHost(t, false, needsLogin), newHost(t, false, basicThen(serveAll))
	s := sourceOf(t, origin, Options{Credentials: only(origin.addr(), auth.Credential{Username: user, Password: password})}, mirror)
	got, err := fetchFrom(t, s, d)
	if err != nil || got != content || len(origin.seen()) == 0 {
		t.Errorf("got %q, %v; the registry saw %q", got, err, origin.seen())
	}
	if seen := mirror.seen(); len(seen) > 0 {
		t.Errorf("the mirror was sent %q", seen)
	}
	if want := "/v2/copy/team/app/blobs/" + string(d.Digest) + "?ns=" + strings.Replace(origin.addr(), ":", "%3A", 1); !slices.Contains(paths, want) {
		t.Errorf("the mirror was asked %q, want %q", paths, want)
	}

	// Credentials that were stored for the mirror go there, and only there.
	mirror, origin = newHost(t, false, basicThen(serveAll)), newHost(t, false, serveAll)
	s = sourceOf(t, origin, Options{Credentials: only(mirror.addr(), auth.Credential{Username: user, Password: password})}, mirror)
	if got, err := fetchFrom(t, s, d); err != nil || got != content || !slices.Contains(mirror.seen(), basic()) || len(origin.seen()) > 0 {
		t.Errorf("got %q, %v; the mirror saw %q, the registry %q", got, err, mirror.seen(), origin.seen())
	}
}

// TestHeaderStays: a header configured for a mirror goes to it, but not where
// it redirects to.
func TestHeaderStays(t *testing.T) {
	d := descriptor(content)
	other := newHost(t, false, nil)
	var leaked, came bool
	other.handle = func(w http.ResponseWriter, r *http.Request) {
		leaked = leaked || r.Header.Get("X-Key") != "" || r.Header.Get("Authorization") != ""
		serveRange(w, r, content)
	}
	mirror := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		came = came || r.Header.Get("X-Key") == "k" && r.Header.Get("Authorization") == "Token t"
		redirect(other, 307)(w, r)
	})
	origin := newHost(t, false, serveAll)
	dir := t.TempDir()
	text := "server = \"http://" + origin.addr() + "\"\n[host.\"" + mirror.URL + "\".header]\nX-Key = \"k\"\nAuthorization = [\"Token t\"]\n"
	if err := os.MkdirAll(filepath.Join(dir, origin.addr()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, origin.addr(), "hosts.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := fetchFrom(t, sourceOf(t, origin, Options{Hosts: hosts.Config{Dirs: []string{dir}}}), d)
	if err != nil || got != content || !came || leaked {
		t.Errorf("got %q, %v; the header came: %v, leaked: %v", got, err, came, leaked)
	}
}

// TestMirrorBreaks goes on at the next host where the first one ended.
func TestMirrorBreaks(t *testing.T) {
	d := descriptor(content)
	mirror := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		if r.Header.Get("Range") != "" {
			w.WriteHeader(http.StatusForbidden) // it was taken away
			return
		}
		serveRange(&breaking{ResponseWriter: w, left: 10}, r, content)
	})
	origin := newHost(t, false, serveAll)
	var said []string
	got, err := fetchFrom(t, sourceOf(t, origin, Options{Notice: func(s string) { said = append(said, s) }}, mirror), d)
	if err != nil || got != content {
		t.Fatalf("got %q, %v", got, err)
	}
	if want := "bytes=10-35"; !slices.Contains(origin.ranges, want) {
		t.Errorf("the registry was asked for %q, want %q", origin.ranges, want)
	}
	if len(said) != 1 || !strings.HasPrefix(said[0], "mirror "+mirror.addr()+" is passed over: ") {
		t.Errorf("said %q", said)
	}
}

// TestDeadMirror costs little time, once.
func TestDeadMirror(t *testing.T) {
	dead, origin := newHost(t, false, serveAll), newHost(t, false, serveAll)
	dead.Close()
	s := sourceOf(t, origin, Options{}, dead)
	begin := time.Now()
	for range 3 {
		if _, _, err := s.Manifest(t.Context(), "1"); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	if s.ends[0].out == nil {
		t.Error("the mirror is still asked")
	}
}

// TestRights: a host without the right to resolve is not asked what a tag is.
func TestRights(t *testing.T) {
	var asked []string
	mirror := newHost(t, false, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		serveAll(w, r)
	})
	origin := newHost(t, false, serveAll)
	s := sourceOf(t, origin, Options{}, mirror)
	s.ends[0].at.Resolve = false
	if _, _, err := s.Manifest(t.Context(), "1"); err != nil || len(asked) > 0 {
		t.Errorf("%v; the mirror was asked %q", err, asked)
	}
	if _, _, err := s.Manifest(t.Context(), string(oci.DigestOf([]byte(`{"schemaVersion":2}`)))); err != nil || len(asked) == 0 {
		t.Errorf("%v; the mirror was not asked", err)
	}
	for _, e := range s.ends {
		e.at.Resolve = false
	}
	if _, _, err := s.Manifest(t.Context(), "1"); errdefs.KindOf(err) != errdefs.InvalidArgument {
		t.Errorf("nobody may resolve: %v", err)
	}
}

// TestDoubt asks the registry for what a mirror had wrong.
func TestDoubt(t *testing.T) {
	d := descriptor(content)
	mirror := newHost(t, false, func(w http.ResponseWriter, r *http.Request) { serveRange(w, r, strings.ToUpper(content)) })
	origin := newHost(t, false, serveAll)
	s := sourceOf(t, origin, Options{}, mirror)
	if got, err := fetchFrom(t, s, d); err != nil || got != strings.ToUpper(content) {
		t.Fatalf("got %q, %v", got, err)
	}
	if !s.Doubt(d.Digest) {
		t.Error("there is nobody else to ask")
	}
	if got, err := fetchFrom(t, s, d); err != nil || got != content {
		t.Errorf("got %q, %v", got, err)
	}
	if s.Doubt(d.Digest) {
		t.Error("the registry itself is the last")
	}
}

// TestNobodyHasIt names the mirrors that were asked, for who looks for the reason.
func TestNobodyHasIt(t *testing.T) {
	lacking := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}
	mirror, origin := newHost(t, false, lacking), newHost(t, false, lacking)
	_, _, err := sourceOf(t, origin, Options{}, mirror).Manifest(t.Context(), "1")
	if errdefs.KindOf(err) != errdefs.NotFound || !strings.HasSuffix(err.Error(), "; mirrors asked before: "+mirror.addr()+" (not found)") {
		t.Error(err)
	}
}
