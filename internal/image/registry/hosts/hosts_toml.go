package hosts

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/BurntSushi/toml"

	"berth/internal/reference"
)

var (
	errScheme = errors.New("its scheme is neither https nor http")
	errForm   = errors.New("it is not of the form [SCHEME://]HOST[:PORT][/PATH]")
	errUser   = errors.New("it holds a user name: keep credentials with 'berth login'")
)

// maxFile is how long a settings file may be.
const maxFile = 1 << 20

// entry is one host of a hosts.toml, or the server's part of it
// (containerd, docs/hosts.md).
type entry struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   bool           `toml:"skip_verify"`
	OverridePath bool           `toml:"override_path"`
	Header       map[string]any `toml:"header"`
}

type hostsToml struct {
	Server string           `toml:"server"`
	Host   map[string]entry `toml:"host"`
	entry
}

// hostsFile returns what the first hosts.toml for a name's registry says; nil if
// there is none.
func (c Config) hostsFile(name reference.Named) ([]Host, error) {
	names := append([]string{name.Domain()}, directories(Addr(name.Domain()))...)
	for _, dir := range c.Dirs {
		for _, n := range append(names, "_default") {
			path := filepath.Join(dir, n, "hosts.toml")
			text, err := readFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, err
			}
			return parseHosts(text, path, name)
		}
	}
	return nil, nil
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && (info.Size() > maxFile || !info.Mode().IsRegular()) {
		return "", invalid(path, "it is no file of at most %d bytes", maxFile)
	}
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// parseHosts reads a hosts.toml. Hosts are tried in the order in which they
// stand in the file, and the server last.
func parseHosts(text, path string, name reference.Named) (list []Host, err error) {
	var doc hostsToml
	meta, err := toml.Decode(text, &doc)
	if err != nil {
		return nil, invalid(path, "%w", err)
	}
	seen := map[string]bool{}
	for _, key := range meta.Keys() {
		if len(key) < 2 || key[0] != "host" || seen[key[1]] {
			continue
		}
		seen[key[1]] = true
		h, err := doc.Host[key[1]].host(key[1], path, name)
		if err != nil {
			return nil, err
		}
		list = append(list, h)
	}
	server := doc.Server
	if server == "" {
		server = Addr(name.Domain())
	}
	h, err := doc.entry.host(server, path, name)
	if err != nil {
		return nil, err
	}
	if h.Addr == reference.DefaultDomain {
		h.Addr = hub
	}
	if h.Addr == Addr(name.Domain()) {
		h.Registry, h.From = "", ""
	}
	return append(list, h), nil
}

func (e entry) host(where, path string, name reference.Named) (h Host, err error) {
	p, err := parsePlace(where)
	if err != nil {
		return h, invalid(path, "host %.200q: %w", where, err)
	}
	h = Host{Addr: p.addr, Scheme: p.scheme, Root: "/v2", Path: name.Path(), Registry: name.Domain(), From: path}
	if p.path != "" {
		h.Root = "/" + p.path
		if !e.OverridePath && !strings.HasSuffix(h.Root, "/v2") {
			h.Root += "/v2"
		}
	} else if u, err := url.Parse(where); err == nil && e.OverridePath && u.Path != "" {
		h.Root = "" // "https://host/" means the host's root
	}
	h.Resolve, h.Pull = e.Capabilities == nil, e.Capabilities == nil
	for _, c := range e.Capabilities {
		switch c {
		case "pull":
			h.Pull = true
		case "resolve":
			h.Resolve = true
		case "push", "dialer", "referrers": // no matter of pulls
		default:
			return h, invalid(path, "host %.200q: unknown capability %.200q", where, c)
		}
	}
	h.TLS.SkipVerify = e.SkipVerify
	dir := filepath.Dir(path)
	if h.TLS.CA, err = stringsOf(e.CA); err != nil {
		return h, invalid(path, "host %.200q: ca %w", where, err)
	}
	for i, file := range h.TLS.CA {
		h.TLS.CA[i] = within(dir, file)
	}
	if h.TLS.Client, err = pairs(e.Client, dir); err != nil {
		return h, invalid(path, "host %.200q: client %w", where, err)
	}
	for key, value := range e.Header {
		values, err := stringsOf(value)
		if err != nil {
			return h, invalid(path, "host %.200q: header %.200q %w", where, key, err)
		}
		if h.Header == nil {
			h.Header = http.Header{}
		}
		h.Header[http.CanonicalHeaderKey(key)] = values
	}
	return h, nil
}

var errStrings = errors.New("is neither a string nor a list of strings")

// stringsOf reads a string or a list of strings.
func stringsOf(v any) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		var list []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errStrings
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, errStrings
}

// pairs reads "both.pem", ["both.pem", ...] or [["cert.pem", "key.pem"], ...].
func pairs(v any, dir string) (list []Pair, err error) {
	outer, ok := v.([]any)
	if !ok && v != nil {
		outer = []any{v}
	}
	for _, e := range outer {
		files, err := stringsOf(e)
		if err != nil || len(files) == 0 || len(files) > 2 {
			return nil, errors.New("is neither a file nor a list of files or of pairs of certificate and key")
		}
		p := Pair{Cert: within(dir, files[0]), Key: within(dir, files[len(files)-1])}
		if p.Key == within(dir, "") { // ["cert.pem", ""]: the key is in the same file
			p.Key = p.Cert
		}
		list = append(list, p)
	}
	return list, nil
}

func within(dir, file string) string {
	if filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
