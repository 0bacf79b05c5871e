package hosts

import (
	"net/url"
	"strings"

	"berth/internal/reference"
)

// rule is one line of the plain setting.
type rule struct {
	prefix string
	places []place
	from   string
}

// place is what stands in place of a prefix.
type place struct {
	scheme, addr, path string
}

type rules []rule

// parseMirrors reads lines like "docker.io = mirror.gcr.io https://cache/hub".
// Empty lines and those that begin with # say nothing.
func parseMirrors(text, source string) (list rules, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		prefix, places, ok := strings.Cut(line, "=")
		prefix = strings.TrimSpace(prefix)
		if !ok || len(strings.Fields(places)) == 0 {
			return nil, invalid(source, "%.200q is not of the form 'REGISTRY[/PATH] = MIRROR[/PATH]...'", line)
		}
		if !validPrefix(prefix) {
			return nil, invalid(source, "%.200q is not the beginning of an image's full name", prefix)
		}
		r := rule{prefix: prefix, from: source}
		for _, word := range strings.Fields(places) {
			p, err := parsePlace(word)
			if err != nil {
				return nil, invalid(source, "mirror %.200q: %w", word, err)
			}
			r.places = append(r.places, p)
		}
		list = append(list, r)
	}
	return list, nil
}

// validPrefix reports whether a full name may begin with s and end a part there.
func validPrefix(s string) bool {
	n, err := reference.ParseExact(s + "/x")
	return s == reference.DefaultDomain || err == nil && n.Name() == s+"/x"
}

// parsePlace reads "[SCHEME://]HOST[:PORT][/PATH]".
func parsePlace(s string) (p place, err error) {
	whole := s
	if !strings.Contains(s, "://") {
		whole = "https://" + s
	}
	u, err := url.Parse(whole)
	switch {
	case err != nil:
		return p, err
	case u.Scheme != "https" && u.Scheme != "http":
		return p, errScheme
	case u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return p, errForm
	case u.User != nil:
		return p, errUser
	}
	p = place{addr: u.Host, path: strings.Trim(u.Path, "/")}
	if whole == s {
		p.scheme = u.Scheme
	}
	return p, nil
}

// mirrors returns what the rule with the longest prefix of name says.
func (list rules) mirrors(name reference.Named) (hosts []Host) {
	var best rule
	for _, r := range list {
		if (name.Name() == r.prefix || strings.HasPrefix(name.Name(), r.prefix+"/")) && len(r.prefix) > len(best.prefix) {
			best = r
		}
	}
	rest := strings.TrimPrefix(name.Name(), best.prefix)
	for _, p := range best.places {
		path := strings.Trim(p.path+rest, "/")
		hosts = append(hosts, Host{Addr: p.addr, Scheme: p.scheme, Root: "/v2", Path: path, Registry: name.Domain(), Resolve: true, Pull: true, From: best.from})
	}
	return hosts
}
