package registry

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/errdefs"
	"berth/internal/image/registry/hosts"
)

// accounts returns the accounts of a user whose configuration is config, and
// where the file is. The state directory is a memory file system unless disk.
func accounts(t *testing.T, config string, disk bool) (*Accounts, string) {
	t.Helper()
	dir := t.TempDir()
	if config != "" {
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	state := t.TempDir()
	if !disk {
		var err error
		if state, err = os.MkdirTemp("/dev/shm", "accounts-"); err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { os.RemoveAll(state) })
	}
	if inMemory(state) == disk {
		t.Skipf("%s is not on the file system that this test needs", state)
	}
	a, err := OpenAccounts(state)
	if err != nil {
		t.Fatal(err)
	}
	return a, filepath.Join(dir, "config.json")
}

// helper is a credential helper that keeps everything in one file beside itself.
const helper = `#!/bin/sh
db=$(dirname "$0")/db
case $1 in
get) read host; [ -f "$db" ] && grep -q "\"$host\"" "$db" && cat "$db" || { echo "credentials not found in native keychain"; exit 1; } ;;
store) cat > "$db" ;;
erase) rm -f "$db" ;;
esac
`

func TestAccountsOfDocker(t *testing.T) {
	token := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	a, path := accounts(t, `{"auths":{"a.example:5000":{"auth":"`+token+`"},"https://index.docker.io/v1/":{"auth":"`+token+`"}},"credHelpers":{"b.example":"test"}}`, true)
	dir := filepath.Dir(path)
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-test"), []byte(helper), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "db"), []byte(`{"ServerURL":"b.example","Username":"bob","Secret":"pw"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"a.example:5000": user, "b.example": "bob", hosts.Addr("docker.io"): user, "c.example": "", "a.example": ""} {
		if c, err := a.Credentials(t.Context(), host); err != nil || c.Username != want {
			t.Errorf("%s: %q, %v; want %q", host, c.Username, err, want)
		}
	}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	none, err := OpenAccounts(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := none.Credentials(t.Context(), "a.example:5000"); err != nil || c != auth.EmptyCredential {
		t.Errorf("no file: %v, %v", c, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
	if _, err := OpenAccounts(t.TempDir()); errdefs.HintOf(err) == "" {
		t.Errorf("broken file: %v", err)
	}
}

// TestAccountsPlaces puts an account where there is and is not a helper, and a
// memory file system. The password is on the disk only if the user said so.
func TestAccountsPlaces(t *testing.T) {
	secret := auth.Credential{Username: "ann", Password: "very-secret"}
	const other = `{"proxies":{"default":{"httpProxy":"x"}},"auths":{}}`
	for name, tt := range map[string]struct {
		config              string
		helper, plain, disk bool
		want                Kept
		refused             bool
	}{
		"memory":             {want: InMemory},
		"memory, other user": {config: other, want: InMemory},
		"a disk":             {disk: true, refused: true},
		"plain":              {config: other, plain: true, disk: true, want: InFile},
		"plain, no file":     {plain: true, want: InFile},
		"helper":             {config: `{"credsStore":"test"}`, helper: true, disk: true, want: InHelper},
		"helper and plain":   {config: `{"credHelpers":{"r.example":"test"}}`, helper: true, plain: true, want: InHelper},
	} {
		t.Run(name, func(t *testing.T) {
			a, path := accounts(t, tt.config, tt.disk)
			if tt.helper {
				if err := os.WriteFile(filepath.Join(filepath.Dir(path), "docker-credential-test"), []byte(helper), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			kept, where, err := a.Put(t.Context(), "r.example", secret, tt.plain)
			if tt.refused {
				if errdefs.KindOf(err) != errdefs.Unsupported || !strings.Contains(errdefs.HintOf(err), "--plain-text") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || kept != tt.want {
				t.Fatalf("kept %v in %s, %v", kept, where, err)
			}
			text, _ := os.ReadFile(path)
			encoded := base64.StdEncoding.EncodeToString([]byte("ann:very-secret"))
			if onDisk := strings.Contains(string(text), encoded) || strings.Contains(string(text), "very-secret"); onDisk != (tt.want == InFile) {
				t.Errorf("config.json is %s", text)
			}
			if strings.Contains(tt.config, "proxies") && !strings.Contains(string(text), "proxies") {
				t.Errorf("other settings are gone: %s", text)
			}
			if kept != InHelper {
				if info, err := os.Stat(where); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("%s: %v, %v", where, info.Mode(), err)
				}
			}
			if c, err := a.Credentials(t.Context(), "r.example"); err != nil || c.Username != "ann" || c.Password != "very-secret" {
				t.Errorf("got %v, %v", c, err)
			}
			for _, want := range []bool{true, false} {
				if had, err := a.Remove(t.Context(), "r.example"); err != nil || had != want {
					t.Errorf("removed %v, %v; want %v", had, err, want)
				}
			}
			if c, err := a.Credentials(t.Context(), "r.example"); err != nil || c != auth.EmptyCredential {
				t.Errorf("after removal: %v, %v", c, err)
			}
		})
	}
}

// A later login in one place counts more than an earlier one in another.
func TestAccountsNewerCounts(t *testing.T) {
	a, _ := accounts(t, "", false)
	for _, step := range []struct {
		password string
		plain    bool
	}{{"one", true}, {"two", false}, {"three", true}, {"four", false}} {
		if _, _, err := a.Put(t.Context(), "r.example", auth.Credential{Username: "ann", Password: step.password}, step.plain); err != nil {
			t.Fatal(err)
		}
		if c, err := a.Credentials(t.Context(), "r.example"); err != nil || c.Password != step.password {
			t.Errorf("after %v: %v, %v", step, c, err)
		}
	}
}

// A configuration that is a link stays one.
func TestAccountsLink(t *testing.T) {
	a, path := accounts(t, `{}`, true)
	real := filepath.Join(t.TempDir(), "dotfiles.json")
	if err := os.Rename(path, real); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	a, err := OpenAccounts(filepath.Dir(filepath.Dir(a.memory)))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Put(t.Context(), "r.example", auth.Credential{Username: "a", Password: "b"}, true); err != nil {
		t.Fatal(err)
	}
	var doc struct{ Auths map[string]any }
	text, _ := os.ReadFile(real)
	if err := json.Unmarshal(text, &doc); err != nil || len(doc.Auths) != 1 {
		t.Errorf("%s, %v", text, err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestServer(t *testing.T) {
	for in, want := range map[string]string{
		"": "docker.io", "docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
		"r.example": "r.example", "https://r.example/v1/": "r.example", "http://r.example:5000": "r.example:5000", "localhost": "localhost", "127.0.0.1:5000": "127.0.0.1:5000",
	} {
		if got, err := Server(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"https://", "a b", "name", "-", "r.example:port", "../x"} {
		if got, err := Server(in); errdefs.HintOf(err) == "" {
			t.Errorf("%q was taken for %q: %v", in, got, err)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	home := newHost(t, false, wantsBasic)
	anonymous := newHost(t, false, func(http.ResponseWriter, *http.Request) {})
	broken := newHost(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	evil := newHost(t, false, bearer("http://192.0.2.1/token"))
	for name, tt := range map[string]struct {
		h    *host
		c    auth.Credential
		want errdefs.Kind
		ok   bool
	}{
		"right":         {h: home, c: auth.Credential{Username: user, Password: password}, ok: true},
		"wrong":         {h: home, c: auth.Credential{Username: user, Password: "guess"}, want: errdefs.Unauthorized},
		"nobody asks":   {h: anonymous, c: auth.Credential{Username: user, Password: password}, ok: true},
		"no registry":   {h: broken, c: auth.Credential{Username: user, Password: password}, want: errdefs.Unavailable},
		"another realm": {h: evil, c: auth.Credential{Username: user, Password: password}, want: errdefs.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			err := Authenticate(t.Context(), tt.h.addr(), Options{Credentials: only(tt.h.addr(), tt.c)})
			if (err == nil) != tt.ok || err != nil && (errdefs.KindOf(err) != tt.want || errdefs.HintOf(err) == "") {
				t.Errorf("got %v (%v, hint %q)", err, errdefs.KindOf(err), errdefs.HintOf(err))
			}
			if err != nil && strings.Contains(err.Error(), password) {
				t.Errorf("the message tells the password: %v", err)
			}
		})
	}
}

func wantsBasic(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != basic() {
		w.Header().Set("WWW-Authenticate", `Basic realm="a"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}
