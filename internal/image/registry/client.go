package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/image/registry/hosts"
	"berth/internal/reference"
)

// Options say how registries are spoken to.
type Options struct {
	// Insecure allows plain HTTP and unknown certificates with every host, not
	// only with those of this machine.
	Insecure bool
	// Credentials returns what to prove the user with; nil: nothing.
	Credentials Credentials
	// TrustedRealms are hosts that may be asked for tokens with the credentials
	// of any registry that names them.
	TrustedRealms []string
	// UserAgent is sent with every request.
	UserAgent string
	// Hosts says where certificates and mirrors are configured; the zero value: nowhere.
	Hosts hosts.Config
	// Notice is told what the user may want to know while it lasts: that a
	// registry makes us wait, or that a mirror is passed over. nil: nobody.
	Notice func(line string)
	// Stall is how long a connection may bring nothing before it counts as
	// broken; 0: a minute.
	Stall time.Duration
}

// Repository is one repository of one host. It is safe for concurrent use.
type Repository struct {
	name  reference.Named
	at    hosts.Host
	base  string // "https://host/v2/path"
	query string // of each request: "ns=docker.io" tells a mirror whose image it is
	host  string
	http  *auth.Client
	stall time.Duration
}

// Open returns the repository of name in its own registry. It connects only to
// find out whether a host of this machine (or any, if Insecure) speaks HTTPS or
// plain HTTP.
func Open(ctx context.Context, name reference.Named, o Options) (*Repository, error) {
	at, err := o.Hosts.Registry(name)
	if err != nil {
		return nil, err
	}
	return openAt(ctx, name, at, o)
}

// openAt returns the repository of name at one of the hosts that serve it.
func openAt(ctx context.Context, name reference.Named, at hosts.Host, o Options) (*Repository, error) {
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	base, err := newTransport(o, at)
	if err != nil {
		return nil, err
	}
	scheme := at.Scheme
	if scheme == "" {
		scheme = "https"
		if o.Insecure || isLoopback(at.Addr) {
			if scheme, err = probe(ctx, base, at.Addr); err != nil {
				return nil, unreachable(name, err)
			}
		}
	}
	guard := &guard{base: base, scheme: scheme, host: at.Addr, insecure: o.Insecure, trusted: o.TrustedRealms, header: at.Header}
	client := &auth.Client{
		Client: &http.Client{Transport: newPatient(guard, at, o.Notice)},
		Cache:  auth.NewCache(),
		Header: http.Header{"User-Agent": {o.UserAgent}},
	}
	if o.Credentials != nil {
		client.Credential = auth.CredentialFunc(o.Credentials)
	}
	r := &Repository{name: name.Repository(), at: at, base: scheme + "://" + at.Addr + at.Root + "/" + at.Path, host: at.Addr, http: client, stall: o.Stall}
	if at.Mirror() {
		r.query = url.Values{"ns": {at.Registry}}.Encode()
	}
	return r, nil
}

// root is the URL where the API says what it is: "https://host/v2". A path below
// it ("/v2/proxy", as caches have them) is only the beginning of all names.
func (r *Repository) root() string {
	root := r.at.Root
	if before, _, below := strings.Cut(root, "/v2/"); below {
		root = before + "/v2"
	}
	scheme, _, _ := strings.Cut(r.base, ":")
	return scheme + "://" + r.at.Addr + root
}

func newTransport(o Options, at hosts.Host) (*http.Transport, error) {
	config, err := at.TLS.Config()
	if err != nil {
		return nil, err
	}
	if o.Insecure || isLoopback(at.Addr) {
		if config == nil {
			config = &tls.Config{}
		}
		config.InsecureSkipVerify = true //nolint:gosec // the user asked for it, or nobody is in between
	}
	dial := dialPatience
	if at.Mirror() {
		dial = mirrorPatience
	}
	return &http.Transport{
		TLSClientConfig:       config,
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dial}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: o.Stall,
		MaxIdleConnsPerHost:   16, // as many as layers times ranges are fetched at once
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,
		// Bytes are compared with digests of what was sent, not of what it unpacks to.
		DisableCompression: true,
	}, nil
}

// probe finds out which of the two a host speaks. It carries no credentials.
func probe(ctx context.Context, base http.RoundTripper, host string) (scheme string, err error) {
	client := &http.Client{Transport: base, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var errs []error
	for _, scheme := range []string{"https", "http"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/v2/", nil)
		if err != nil {
			return "", err
		}
		resp, err := client.Do(req)
		if err == nil {
			return scheme, resp.Body.Close()
		}
		errs = append(errs, withoutQuery(err))
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "dial" {
			break // nobody listens: asking again in plain text changes nothing
		}
	}
	return "", errs[len(errs)-1]
}

// isLoopback reports whether host[:port] can only be this machine.
func isLoopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
