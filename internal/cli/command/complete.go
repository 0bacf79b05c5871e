package command

import (
	"context"

	"github.com/spf13/cobra"
)

// ImageNames returns the names of the images, for completion.
func ImageNames(ctx context.Context, env *Env) ([]string, cobra.ShellCompDirective) {
	e, err := env.Open(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := e.Images.List(ctx, "", false, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, i := range list {
		names = append(names, i.RepoTags...)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
