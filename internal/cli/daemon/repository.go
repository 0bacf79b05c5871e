package daemon

import (
	"context"

	"berth/internal/build/portable"
	"berth/internal/cli/command"
	"berth/internal/cli/daemon/build"
	"berth/internal/image/registry"
	"berth/internal/reference"
)

// repository connects builds to registries: mirrors serve what is read, and what
// is written goes to the registry itself.
func repository(env *command.Env) func(context.Context, reference.Named, build.RepositoryOptions) (*portable.Repository, error) {
	return func(ctx context.Context, name reference.Named, o build.RepositoryOptions) (*portable.Repository, error) {
		ro, err := registryOptions(env, o.Insecure)
		if err != nil {
			return nil, err
		}
		ro.Notice = notice(env, nil)
		src, err := registry.OpenSource(name, ro)
		if err != nil || !o.Write {
			return &portable.Repository{Source: src}, err
		}
		dst, err := registry.Open(ctx, name, ro)
		return &portable.Repository{Source: src, Target: dst}, err
	}
}
