package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Go modules are the one thing that a build of the bench fetches. Its network
// namespace has no way out, so they come through two relays:
//
//	RUN go mod download          in a container of any engine
//	 └─ moduleAddress            the worker, in the bench's network namespace
//	     └─ modules.sock         the outermost process, in the host's
//	         └─ GOPROXY          the module proxy of the environment
//
// The outermost one keeps what it got, so that every builder is given the same
// in every round and the proxy's own moods are measured for none.

// moduleAddress is an address of the loopback device that containers on every
// bridge reach. It is of the range for benchmarks (RFC 2544).
const moduleAddress = "198.18.0.1"

const modulePort = "8081"

func moduleSocket(dir string) string { return filepath.Join(dir, "modules.sock") }

// serveModules listens for the worker. Without a proxy in the environment
// nobody listens, and builds that need modules are not measured.
func serveModules(dir string) error {
	out, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		return fmt.Errorf("go env GOPROXY: %w", err)
	}
	first, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(string(out)), "|", ","), ",")
	if !strings.HasPrefix(first, "http") {
		fmt.Fprintf(os.Stderr, "bench: GOPROXY=%s names no server\n", first)
		return nil
	}
	l, err := net.Listen("unix", moduleSocket(dir))
	if err != nil {
		return err
	}
	go http.Serve(l, &moduleCache{upstream: strings.TrimSuffix(first, "/"), kept: map[string][]byte{}}) //nolint:errcheck // it ends with the process
	return nil
}

// moduleCache answers from memory what it has asked for before.
type moduleCache struct {
	upstream string
	mu       sync.Mutex
	kept     map[string][]byte
}

func (c *moduleCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, ok := c.kept[r.URL.Path]
	if !ok {
		status := http.StatusBadGateway
		var err error
		if data, status, err = fetch(c.upstream + r.URL.EscapedPath()); err != nil {
			http.Error(w, err.Error(), status)
			return
		}
		c.kept[r.URL.Path] = data
	}
	w.Write(data) //nolint:errcheck // the builder notices
}

// fetch gets a file. With an error comes the status that says so.
func fetch(from string) ([]byte, int, error) {
	res, err := http.Get(from)
	if err != nil {
		return nil, http.StatusBadGateway, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, res.StatusCode, errors.New(res.Status)
	}
	data, err := io.ReadAll(res.Body)
	return data, http.StatusBadGateway, err
}

// offerModules serves the bench's namespace and returns the proxy's address.
func (l *lab) offerModules() (string, error) {
	if _, err := os.Stat(moduleSocket(l.dir)); err != nil {
		return "", errors.New("no module proxy")
	}
	if l.modules != "" {
		return l.modules, nil
	}
	address := net.ParseIP(moduleAddress).To4()
	// "lo:1" is one more address of lo.
	if err := configure("lo:1", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(address) }); err != nil {
		return "", err
	}
	at := net.JoinHostPort(moduleAddress, modulePort)
	listener, err := net.Listen("tcp", at)
	if err != nil {
		return "", err
	}
	relay := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "modules"})
	relay.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", moduleSocket(l.dir))
	}}
	go http.Serve(listener, relay) //nolint:errcheck // it ends with the process
	l.modules = "http://" + at
	return l.modules, nil
}
