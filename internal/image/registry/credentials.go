package registry

import (
	"context"
	"os"
	"path/filepath"

	"oras.land/oras-go/v2/registry/remote/auth"
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
