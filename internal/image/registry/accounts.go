package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"berth/internal/errdefs"
	"berth/internal/reference"
)

// Accounts are a user's accounts at registries. They are kept in one of three
// places, asked in this order:
//
//	memory   a file that a reboot takes away, which only its owner may read
//	helper   the program that Docker's configuration names (credsStore, credHelpers)
//	file     Docker's configuration itself, where anybody who gets it can read them
//
// A new one goes to the helper if there is one. The file gets it only if the
// user says so.
type Accounts struct {
	memory, config string // paths; config is "" for a user without a home
}

// OpenAccounts returns the accounts of this user. stateRoot is a directory that
// need not survive a reboot. A file that is there and cannot be read is an error;
// one that is not there holds nothing.
func OpenAccounts(stateRoot string) (*Accounts, error) {
	a := &Accounts{memory: filepath.Join(stateRoot, "accounts", "config.json"), config: DockerConfig("")}
	if real, err := filepath.EvalSymlinks(a.config); err == nil {
		a.config = real // the link stays a link when the file is replaced
	}
	for _, path := range a.places() {
		if _, err := openStore(path, credentials.StoreOptions{}); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// places are the files to look into, in order.
func (a *Accounts) places() []string {
	if a.config == "" {
		return []string{a.memory}
	}
	return []string{a.memory, a.config}
}

func openStore(path string, o credentials.StoreOptions) (*credentials.DynamicStore, error) {
	store, err := credentials.NewStore(path, o)
	if err != nil {
		return nil, (&errdefs.Error{Kind: errdefs.InvalidArgument, Op: "read credentials from", Subject: path, Err: err}).
			WithHint("repair the file, or set DOCKER_CONFIG to an empty directory to go on without credentials")
	}
	return store, nil
}

// Credentials returns what the user has for a registry's host, or nothing.
func (a *Accounts) Credentials(ctx context.Context, host string) (auth.Credential, error) {
	return a.get(ctx, credentials.ServerAddressFromHostname(host))
}

// Stored returns what the user has for a registry, by the name that users give it.
func (a *Accounts) Stored(ctx context.Context, registry string) (auth.Credential, error) {
	return a.get(ctx, credentials.ServerAddressFromRegistry(registry))
}

func (a *Accounts) get(ctx context.Context, key string) (auth.Credential, error) {
	for _, path := range a.places() {
		store, err := openStore(path, credentials.StoreOptions{})
		if err != nil {
			return auth.EmptyCredential, err
		}
		c, err := store.Get(ctx, key)
		if err != nil {
			return auth.EmptyCredential, (&errdefs.Error{Kind: errdefs.Unauthorized, Op: "get the credentials of", Subject: key, Err: err}).
				WithHint("look at credsStore and credHelpers in %s", path)
		}
		if c != auth.EmptyCredential {
			return c, nil
		}
	}
	return auth.EmptyCredential, nil
}

// Kept says where an account was put.
type Kept int

// The places.
const (
	InHelper Kept = iota
	InMemory
	InFile // unencrypted
)

// Put keeps an account. plain allows to write the password as it is into
// Docker's configuration, if no helper is configured. It returns the file that
// has it or names who has it.
func (a *Accounts) Put(ctx context.Context, registry string, c auth.Credential, plain bool) (Kept, string, error) {
	key := credentials.ServerAddressFromRegistry(registry)
	failed := func(where string, err error) error {
		return (&errdefs.Error{Kind: errdefs.Internal, Op: "keep the password of", Subject: registry, Err: err}).WithHint("look at %s", where)
	}
	for _, plainly := range [...]bool{false, true} {
		if a.config == "" || plainly && !plain {
			continue
		}
		store, err := openStore(a.config, credentials.StoreOptions{AllowPlaintextPut: plainly, DetectDefaultNativeStore: true})
		if err != nil {
			return 0, "", err
		}
		err = store.Put(ctx, key, c)
		switch {
		case err == nil && plainly:
			return InFile, a.config, a.forget(ctx, key)
		case err == nil:
			return InHelper, a.config, a.forget(ctx, key)
		case !errors.Is(err, credentials.ErrPlaintextPutDisabled):
			return 0, "", failed("credsStore and credHelpers in "+a.config, err)
		}
	}
	dir := filepath.Dir(a.memory)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, "", failed(dir, err)
	}
	if !inMemory(dir) {
		return 0, "", (&errdefs.Error{Kind: errdefs.Unsupported, Op: "keep the password of", Subject: registry,
			Err: fmt.Errorf("no credential helper is configured, and %s is no memory file system", dir)}).
			WithHint("configure a helper (credsStore in %s), or allow to write it there unencrypted: --plain-text", a.config)
	}
	memory, err := openStore(a.memory, credentials.StoreOptions{AllowPlaintextPut: true})
	if err == nil {
		err = memory.Put(ctx, key, c)
	}
	if err != nil {
		return 0, "", failed(a.memory, err)
	}
	return InMemory, a.memory, nil
}

// forget removes an account from memory, since the one elsewhere is newer.
func (a *Accounts) forget(ctx context.Context, key string) error {
	_, err := remove(ctx, a.memory, key)
	return err
}

// Remove forgets an account, wherever it is, and reports whether there was one.
func (a *Accounts) Remove(ctx context.Context, registry string) (found bool, err error) {
	key := credentials.ServerAddressFromRegistry(registry)
	for _, path := range a.places() {
		had, err := remove(ctx, path, key)
		if err != nil {
			return found, (&errdefs.Error{Kind: errdefs.Internal, Op: "remove the password of", Subject: registry, Err: err}).
				WithHint("look at credsStore and credHelpers in %s", path)
		}
		found = found || had
	}
	return found, nil
}

func remove(ctx context.Context, path, key string) (bool, error) {
	store, err := openStore(path, credentials.StoreOptions{})
	if err != nil {
		return false, err
	}
	if c, err := store.Get(ctx, key); err == nil && c == auth.EmptyCredential {
		return false, nil
	}
	return true, store.Delete(ctx, key)
}

// inMemory reports whether a directory is gone after a reboot, and never on a disk.
func inMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}

// Server reads what a user calls a registry: a host, or the URL that Docker's
// older versions wanted. "" is Docker's own.
func Server(s string) (string, error) {
	host := strings.TrimPrefix(strings.TrimPrefix(s, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	switch host {
	case "", "index.docker.io", "registry-1.docker.io", reference.DefaultDomain:
		if s == "" || host != "" {
			return reference.DefaultDomain, nil
		}
	}
	if _, err := registryName(host); err != nil {
		return "", errdefs.New(errdefs.InvalidArgument, "invalid registry %q", s).WithHint("give its host and port, as registry.example.com:5000")
	}
	return host, nil
}

// registryName returns the name of some repository in a registry: connections
// are made by names.
func registryName(host string) (reference.Named, error) {
	n, err := reference.ParseExact(host + "/login")
	if err == nil && n.Domain() != host {
		err = errdefs.New(errdefs.InvalidArgument, "%s is no host", host)
	}
	return n, err
}

// Authenticate asks a registry whether it takes the credentials of o.
func Authenticate(ctx context.Context, server string, o Options) error {
	name, err := registryName(server)
	if err != nil {
		return err
	}
	r, err := Open(ctx, name, o)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(r.base, r.at.Path), nil)
	if err != nil {
		return err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return loginError(ctx, server, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return badLogin(server)
	}
	return errdefs.New(errdefs.Unavailable, "cannot log in at %s: %w", server, answer(resp)).WithHint("is it a registry? Its address must answer at /v2/")
}

// loginError is for a login without an answer of the registry.
func loginError(ctx context.Context, server string, err error) error {
	var token *errcode.ErrorResponse
	var known *errdefs.Error
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.Is(err, auth.ErrBasicCredentialNotFound),
		errors.As(err, &token) && (token.StatusCode == http.StatusUnauthorized || token.StatusCode == http.StatusForbidden):
		return badLogin(server)
	case errors.As(err, &known):
		return errdefs.Wrap(known, "log in at", server)
	}
	return (&errdefs.Error{Kind: errdefs.Unavailable, Op: "log in at", Subject: server, Err: withoutQuery(err)}).
		WithHint("check the name, the network and, if you need one, the proxy (HTTPS_PROXY)")
}

func badLogin(server string) error {
	return errdefs.New(errdefs.Unauthorized, "cannot log in at %s: unauthorized: incorrect username or password", server).
		WithHint("check both; many registries want an access token in the password's place")
}
