package registry

import (
	"context"
	"os"
	"path/filepath"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"berth/internal/errdefs"
)

// Credentials returns what the user has for a registry's host, or nothing.
type Credentials func(ctx context.Context, host string) (auth.Credential, error)

// DockerConfig returns where Docker's client configuration is. dir is "" for
// $DOCKER_CONFIG, else ~/.docker; the result is "" for a user without a home.
func DockerConfig(dir string) string {
	if dir == "" {
		dir = os.Getenv("DOCKER_CONFIG")
	}
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".docker")
	}
	return filepath.Join(dir, "config.json")
}

// DockerCredentials reads Docker's client configuration, where `docker login`
// and many other tools keep credentials: in the file itself or with the
// credential helper that it names. dir is DockerConfig's. A file that is not
// there means no credentials.
func DockerCredentials(dir string) (Credentials, error) {
	path := DockerConfig(dir)
	if path == "" {
		return nil, nil
	}
	store, err := credentials.NewStore(path, credentials.StoreOptions{})
	if err != nil {
		return nil, (&errdefs.Error{Kind: errdefs.InvalidArgument, Op: "read credentials from", Subject: path, Err: err}).
			WithHint("repair the file, or set DOCKER_CONFIG to an empty directory to pull without credentials")
	}
	get := credentials.Credential(store)
	return func(ctx context.Context, host string) (auth.Credential, error) {
		c, err := get(ctx, host)
		if err != nil {
			return auth.EmptyCredential, (&errdefs.Error{Kind: errdefs.Unauthorized, Op: "get the credentials of", Subject: host, Err: err}).
				WithHint("look at credsStore and credHelpers in %s", path)
		}
		return c, nil
	}, nil
}
