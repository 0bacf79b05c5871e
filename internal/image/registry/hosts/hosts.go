package hosts

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/errdefs"
	"berth/internal/reference"
)

// hub is where the registry called docker.io really is.
const hub = "registry-1.docker.io"

// Host is one place that serves a repository.
type Host struct {
	// Addr is the host[:port].
	Addr string
	// Scheme is "https" or "http"; "" if it was not said: plain HTTP is then
	// only for hosts of this machine.
	Scheme string
	// Root is the path before the repository's: "/v2", unless configured.
	Root string
	// Path is the repository there: "library/alpine".
	Path string
	// Registry is the registry whose images these are, if the host is a mirror
	// of it: "docker.io". "" for the registry itself.
	Registry string
	// Resolve is the right to say what a tag leads to, and Pull to serve content.
	Resolve, Pull bool
	// Header goes with each request to this host, and to no other.
	Header http.Header
	TLS    TLS
	// From names the setting, for messages; "" for the registry itself.
	From string
}

// Mirror reports whether the host is not the registry itself.
func (h Host) Mirror() bool { return h.Registry != "" }

// Config is where settings are.
type Config struct {
	// Dirs are looked through in order. Of hosts.toml the first counts; of
	// certificates all.
	Dirs []string
	// Mirrors is the plain setting's text, and Source what to call it in messages.
	Mirrors, Source string
}

// Default reads where the settings of this host are. lookup is os.LookupEnv's.
func Default(lookup func(string) (string, bool)) (Config, error) {
	c := Config{Dirs: []string{"/etc/berth/certs.d", "/etc/containerd/certs.d", "/etc/docker/certs.d"}}
	if list, ok := lookup("BERTH_CERTS_D"); ok {
		c.Dirs = filepath.SplitList(list)
	}
	if text, ok := lookup("BERTH_MIRRORS"); ok {
		c.Mirrors, c.Source = strings.ReplaceAll(text, ";", "\n"), "BERTH_MIRRORS"
		return c, nil
	}
	const file = "/etc/berth/mirrors"
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	c.Mirrors, c.Source = string(text), file
	return c, nil
}

// For returns the hosts that serve the repository of name, in the order of trying.
// The last one is the registry itself, or what a hosts.toml has in its place.
func (c Config) For(name reference.Named) ([]Host, error) {
	rules, err := parseMirrors(c.Mirrors, c.Source)
	if err != nil {
		return nil, err
	}
	list := rules.mirrors(name)
	file, err := c.hostsFile(name)
	if err != nil {
		return nil, err
	}
	list = append(list, file...)
	if len(file) == 0 {
		list = append(list, Origin(name))
	}
	for i := range list {
		if err := c.certificates(&list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Registry returns the registry itself, with its certificates, for what no
// mirror does: pushing, and proving who the user is.
func (c Config) Registry(name reference.Named) (Host, error) {
	list, err := c.For(name)
	if err != nil {
		return Host{}, err
	}
	for _, h := range list {
		if !h.Mirror() {
			return h, nil
		}
	}
	h := Origin(name)
	return h, c.certificates(&h)
}

// Origin is the registry of a name as it is without any setting.
func Origin(name reference.Named) Host {
	return Host{Addr: Addr(name.Domain()), Root: "/v2", Path: name.Path(), Resolve: true, Pull: true}
}

// Addr returns the host[:port] of a registry's name.
func Addr(registry string) string {
	if registry == reference.DefaultDomain {
		return hub
	}
	return registry
}

// directories returns the names that a host's directory may have.
func directories(addr string) []string {
	names := []string{addr}
	if addr == hub {
		names = append(names, reference.DefaultDomain)
	}
	if host, port, ok := strings.Cut(addr, ":"); ok && !strings.Contains(port, ":") {
		names = append(names, host+"_"+port+"_") // where names cannot have colons
	}
	return names
}

func invalid(where, format string, args ...any) error {
	return errdefs.Wrap(errdefs.New(errdefs.InvalidArgument, format, args...), "read", where)
}
