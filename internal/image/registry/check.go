package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"oras.land/oras-go/v2/registry/remote/auth"

	"berth/internal/errdefs"
	"berth/internal/image/registry/hosts"
	"berth/internal/oci"
	"berth/internal/reference"
)

// Finding is what one step of a check found.
type Finding struct {
	// Step is "proxy", "dns", "tcp", "tls", "api", "auth", "image" or "ranges".
	Step string
	// Works is false if a pull from this host ends here.
	Works  bool
	Detail string
	// Advice is what to do about it, if there is something.
	Advice string
}

// Checked is one host that was checked.
type Checked struct {
	Host     hosts.Host
	Findings []Finding
}

// Works reports whether images can be pulled from the host, as far as was checked.
func (c Checked) Works() bool {
	if !c.Host.Pull {
		return false
	}
	for _, f := range c.Findings {
		if !f.Works {
			return false
		}
	}
	return true
}

// checkPatience bounds each step of a check.
const checkPatience = 10 * time.Second

// Check goes through all that a pull of name needs, for each of the hosts that
// it would ask, and calls report with each host when it is done. If what of name
// is no more than a registry (withImage is false), nothing below it is asked for.
// It stores nothing.
func Check(ctx context.Context, name reference.Named, withImage bool, o Options, report func(Checked)) error {
	list, err := o.Hosts.For(name)
	if err != nil {
		return err
	}
	o.Notice, o.Stall = nil, checkPatience
	for _, h := range list {
		c := &check{name: name, withImage: withImage, o: o, Checked: Checked{Host: h}}
		c.run(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		report(c.Checked)
	}
	return nil
}

// check is the check of one host.
type check struct {
	Checked
	name      reference.Named
	withImage bool
	o         Options
	repo      *Repository
}

// run goes from step to step until one does not work.
func (c *check) run(ctx context.Context) {
	for _, step := range []struct {
		name string
		do   func(context.Context) (detail, advice string, err error)
	}{
		{"proxy", c.proxy}, {"dns", c.dns}, {"tcp", c.tcp}, {"tls", c.tls}, {"api", c.api}, {"auth", c.auth}, {"image", c.image}, {"ranges", c.ranges},
	} {
		ctx, cancel := context.WithTimeout(ctx, 2*checkPatience)
		detail, advice, err := step.do(ctx)
		cancel()
		if err != nil {
			if advice == "" {
				advice = errdefs.HintOf(err)
			}
			c.Findings = append(c.Findings, Finding{step.name, false, printable(withoutQuery(err).Error()), advice})
			return
		}
		if detail != "" {
			c.Findings = append(c.Findings, Finding{step.name, true, printable(detail), advice})
		}
	}
}

// url is the host's own address. The scheme is a guess until it was connected to.
func (c *check) url() *url.URL {
	u := &url.URL{Scheme: "https", Host: c.Host.Addr, Path: c.Host.Root + "/"}
	if c.Host.Scheme != "" {
		u.Scheme = c.Host.Scheme
	}
	return u
}

// proxied returns the proxy that stands between, nil for none.
func (c *check) proxied() (*url.URL, error) {
	return http.ProxyFromEnvironment(&http.Request{URL: c.url()})
}

func (c *check) proxy(context.Context) (string, string, error) {
	p, err := c.proxied()
	if err != nil || p == nil {
		return "", "look at HTTPS_PROXY, HTTP_PROXY and NO_PROXY", err
	}
	return p.Redacted() + ", from the environment", "", nil
}

func (c *check) dns(ctx context.Context) (string, string, error) {
	host := c.url().Hostname()
	if p, _ := c.proxied(); p != nil || isAddress(host) { //nolint:errcheck // the step before has shown it
		return "", "", nil
	}
	addrs, err := net.DefaultResolver.LookupHost(ctx, host)
	return strings.Join(addrs, " "), "check the name, and /etc/resolv.conf", err
}

func (c *check) tcp(ctx context.Context) (string, string, error) {
	u := c.url()
	if p, _ := c.proxied(); p != nil { //nolint:errcheck // as above
		return "", "", nil
	}
	var tried []string
	var last error
	for _, port := range ports(u, c.o.Insecure || isLoopback(u.Host)) {
		begin := time.Now()
		conn, err := (&net.Dialer{Timeout: checkPatience}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
		if err == nil {
			conn.Close() //nolint:errcheck // it carried nothing
			return fmt.Sprintf("port %s answers after %.1f ms", port, float64(time.Since(begin).Microseconds())/1000), "", nil
		}
		tried, last = append(tried, port), err
	}
	return "", "nobody answers at port " + strings.Join(tried, " or ") + ": check the port and the firewall", last
}

func ports(u *url.URL, plain bool) []string {
	switch {
	case u.Port() != "":
		return []string{u.Port()}
	case u.Scheme == "http":
		return []string{"80"}
	case plain:
		return []string{"443", "80"}
	}
	return []string{"443"}
}

// tls connects as a pull does, and looks at the certificate.
func (c *check) tls(ctx context.Context) (_, advice string, err error) {
	if c.repo, err = openAt(ctx, c.name, c.Host, c.o); err != nil {
		return "", "", err
	}
	if strings.HasPrefix(c.repo.base, "http://") {
		return "none: plain HTTP, which anybody in between can read", "", nil
	}
	resp, err := c.ask(ctx)
	if err != nil {
		var unknown *tls.CertificateVerificationError
		if errors.As(err, &unknown) {
			advice = fmt.Sprintf("if this is its right certificate, put that of its authority into /etc/berth/certs.d/%s/ca.crt", c.Host.Addr)
		}
		return "", advice, err
	}
	resp.Body.Close() //nolint:errcheck // it was not read
	s := resp.TLS
	if s == nil || len(s.PeerCertificates) == 0 {
		return "", "", nil
	}
	cert := s.PeerCertificates[0]
	detail := fmt.Sprintf("%s, certificate of %s until %s", tls.VersionName(s.Version), cert.Issuer, cert.NotAfter.Format(time.DateOnly))
	if len(s.VerifiedChains) == 0 {
		detail += ", not verified"
	}
	return detail, "", nil
}

// ask sends GET /v2/ without credentials.
func (c *check) ask(ctx context.Context) (*http.Response, error) {
	base, err := newTransport(c.o, c.Host)
	if err != nil {
		return nil, err
	}
	defer base.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.repo.root()+"/", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	scheme, _, _ := strings.Cut(c.repo.base, ":")
	g := &guard{base: base, scheme: scheme, host: c.Host.Addr, insecure: c.o.Insecure, header: c.Host.Header}
	client := &http.Client{Transport: g, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return client.Do(req)
}

func (c *check) api(ctx context.Context) (string, string, error) {
	resp, err := c.ask(ctx)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	detail := fmt.Sprintf("%s answers %d", resp.Request.URL.Path, resp.StatusCode)
	if v := resp.Header.Get("Docker-Distribution-Api-Version"); v != "" {
		detail += ", " + v
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized {
		return "", "this may be no registry: check the host, the port and the path", errors.New(detail)
	}
	return detail, "", nil
}

// auth proves who the user is, if it is asked for.
func (c *check) auth(ctx context.Context) (string, string, error) {
	who := "nobody asks"
	var have auth.Credential
	if c.o.Credentials != nil {
		var err error
		if have, err = c.o.Credentials(ctx, c.Host.Addr); err != nil {
			return "", "", err
		}
	}
	resp, err := c.ask(ctx)
	if err != nil {
		return "", "", err
	}
	resp.Body.Close() //nolint:errcheck // it was not read
	challenge, _, _ := strings.Cut(resp.Header.Get("WWW-Authenticate"), " ")
	switch {
	case resp.StatusCode != http.StatusUnauthorized:
		return who, "", nil
	case have != auth.EmptyCredential && have.Username != "":
		who = challenge + ", as " + have.Username
	case have != auth.EmptyCredential:
		who = challenge + ", with a token"
	default:
		who = challenge + ", without credentials"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.repo.root()+"/", nil)
	if err != nil {
		return "", "", err
	}
	resp, err = c.repo.http.Do(req)
	if errors.Is(err, auth.ErrBasicCredentialNotFound) {
		return "", "log in: berth login " + c.Host.Addr, errors.New(who + ": it wants a user and a password")
	}
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", "log in: berth login " + c.Host.Addr, fmt.Errorf("%s: %w", who, answer(resp))
	}
	return who, "", nil
}

// image asks for the document of a tag or digest.
func (c *check) image(ctx context.Context) (string, string, error) {
	if !c.withImage {
		return "", "", nil
	}
	if !c.mayShow() {
		return "not asked: its setting does not let it", "", nil
	}
	d, err := c.repo.Resolve(ctx, version(c.name))
	return string(d.Digest), "", err
}

// mayShow reports whether the host may say what the name leads to, and serve it.
func (c *check) mayShow() bool { return c.Host.Pull && (c.Host.Resolve || c.name.Digest() != "") }

func version(n reference.Named) string {
	switch {
	case n.Digest() != "":
		return string(n.Digest())
	case n.Tag() != "":
		return n.Tag()
	}
	return reference.DefaultTag
}

// ranges asks for one byte of a layer.
func (c *check) ranges(ctx context.Context) (string, string, error) {
	if !c.withImage || !c.mayShow() {
		return "", "", nil
	}
	d, err := c.someBlob(ctx, version(c.name), 3)
	if err != nil || d.Size < 2 {
		return "", "", err
	}
	r, whole, err := c.repo.Blob(ctx, d, 1, 2)
	if err != nil {
		return "", "", err
	}
	r.Close() //nolint:errcheck // it was not read
	if whole {
		return "none: a layer comes in one piece, and one that broke off from its start", "", nil
	}
	return "yes: a layer that broke off goes on, and large ones come in parts", "", nil
}

// someBlob follows documents to a layer of the image.
func (c *check) someBlob(ctx context.Context, ref string, depth int) (oci.Descriptor, error) {
	got, raw, err := c.repo.Manifest(ctx, ref)
	if err != nil {
		return oci.Descriptor{}, err
	}
	doc, err := oci.ParseDocument(raw, got.MediaType)
	switch {
	case err != nil:
		return oci.Descriptor{}, err
	case doc.Manifest != nil && len(doc.Manifest.Layers) > 0:
		return doc.Manifest.Layers[len(doc.Manifest.Layers)-1], nil
	case doc.Manifest != nil:
		return doc.Manifest.Config, nil
	}
	d, ok := oci.HostPlatform().Select(doc.Index.Manifests)
	if !ok && len(doc.Index.Manifests) > 0 {
		d, ok = doc.Index.Manifests[0], true
	}
	if !ok || depth == 0 {
		return oci.Descriptor{}, nil
	}
	return c.someBlob(ctx, string(d.Digest), depth-1)
}
