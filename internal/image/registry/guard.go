package registry

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"berth/internal/errdefs"
)

// guard is the last thing that every request passes on its way out. It knows
// which registry the client was made for and refuses what must not leave:
// credentials for anybody else, and plain text to anybody but the hosts that
// may have it. The layers above are meant to never try.
type guard struct {
	base         http.RoundTripper
	scheme, host string // of the registry
	insecure     bool
	trusted      []string
	header       http.Header // configured for the registry, and for nobody else
}

// RoundTrip sends the request or refuses it.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !g.mayBePlain(req.URL) {
		return nil, (&errdefs.Error{Kind: errdefs.Forbidden, Op: "follow", Subject: place(req.URL),
			Err: fmt.Errorf("%s sends us on over plain HTTP", g.host)}).WithHint("--insecure allows it")
	}
	if secret(req) && !g.isRegistry(req.URL) && !g.isRealm(req.URL) {
		return nil, (&errdefs.Error{Kind: errdefs.Forbidden, Op: "send credentials to", Subject: place(req.URL),
			Err: fmt.Errorf("they were stored for %s", g.host)}).
			WithHint("if this is where %s keeps its accounts, set BERTH_TRUSTED_REALMS=%s", g.host, req.URL.Host)
	}
	if len(g.header) > 0 && g.isRegistry(req.URL) {
		req = req.Clone(req.Context()) // a RoundTripper must not change its request
		for key, values := range g.header {
			req.Header[key] = values
		}
	}
	return g.base.RoundTrip(req)
}

// secret reports whether a request carries something that only one host may
// see. The body of a POST is a token request with a password or refresh token.
func secret(req *http.Request) bool {
	return req.Header.Get("Authorization") != "" || req.Header.Get("Cookie") != "" || req.URL.User != nil || req.Method == http.MethodPost
}

// mayBePlain allows plain HTTP to the registry if that is what it speaks, and
// between hosts of this machine.
func (g *guard) mayBePlain(u *url.URL) bool {
	return g.insecure || g.scheme == "http" && (sameHost(u.Host, g.host, "80") || isLoopback(g.host) && isLoopback(u.Host))
}

func (g *guard) isRegistry(u *url.URL) bool {
	return u.Scheme == g.scheme && sameHost(u.Host, g.host, defaultPort(u.Scheme))
}

// isRealm accepts a token server that belongs to the registry: a host of the
// same domain (auth.docker.io and registry-1.docker.io, gitlab.com and
// registry.gitlab.com), over HTTPS at its usual port, or one that the user trusts.
func (g *guard) isRealm(u *url.URL) bool {
	if slices.Contains(g.trusted, u.Host) || slices.Contains(g.trusted, u.Hostname()) {
		return u.Scheme == "https" || isLoopback(u.Host)
	}
	if g.scheme != "https" || u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
		return false
	}
	registry := strings.ToLower((&url.URL{Host: g.host}).Hostname())
	realm := strings.ToLower(u.Hostname())
	if isAddress(registry) || isAddress(realm) {
		return registry == realm
	}
	return realm == registry || strings.HasSuffix(realm, "."+owner(registry)) || realm == owner(registry)
}

// owner returns the domain that a registry's name belongs to: all but the first
// label if at least two remain, else the name itself.
func owner(host string) string {
	_, rest, ok := strings.Cut(host, ".")
	if ok && strings.Contains(rest, ".") {
		return rest
	}
	return host
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func sameHost(a, b, port string) bool {
	with := func(h string) string {
		if (&url.URL{Host: h}).Port() == "" {
			return h + ":" + port
		}
		return h
	}
	return strings.EqualFold(with(a), with(b))
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// place names a URL in a message: queries hold signatures and tokens.
func place(u *url.URL) string { return u.Scheme + "://" + u.Host + u.Path }
