package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"

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
	// Stall is how long a connection may bring nothing before it counts as
	// broken; 0: a minute.
	Stall time.Duration
}

// hubHost is where the registry called docker.io really is.
const hubHost = "registry-1.docker.io"

// Repository is one repository of a registry. It is safe for concurrent use.
type Repository struct {
	name  reference.Named
	base  string // "https://host/v2/path"
	host  string
	http  *auth.Client
	stall time.Duration
}

// Open returns the repository of name. It connects only to find out whether a
// host of this machine (or any, if Insecure) speaks HTTPS or plain HTTP.
func Open(ctx context.Context, name reference.Named, o Options) (*Repository, error) {
	host := name.Domain()
	if host == reference.DefaultDomain {
		host = hubHost
	}
	if o.Stall == 0 {
		o.Stall = time.Minute
	}
	base := newTransport(o, isLoopback(host))
	scheme := "https"
	if o.Insecure || isLoopback(host) {
		var err error
		if scheme, err = probe(ctx, base, host); err != nil {
			return nil, unreachable(name, err)
		}
	}
	guard := &guard{base: base, scheme: scheme, host: host, insecure: o.Insecure, trusted: o.TrustedRealms}
	client := &auth.Client{
		Client: &http.Client{Transport: retry.NewTransport(guard)},
		Cache:  auth.NewCache(),
		Header: http.Header{"User-Agent": {o.UserAgent}},
	}
	if o.Credentials != nil {
		client.Credential = auth.CredentialFunc(o.Credentials)
	}
	return &Repository{name: name.Repository(), base: scheme + "://" + host + "/v2/" + name.Path(), host: host, http: client, stall: o.Stall}, nil
}

func newTransport(o Options, local bool) *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: o.Stall,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       30 * time.Second,
		ForceAttemptHTTP2:     true,
		// Bytes are compared with digests of what was sent, not of what it unpacks to.
		DisableCompression: true,
	}
	if o.Insecure || local {
		t.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the user asked for it, or nobody is in between
	}
	return t
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
