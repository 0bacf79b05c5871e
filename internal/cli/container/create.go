package container

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
)

// NewCreate is `berth create`.
func NewCreate(env *command.Env) *cobra.Command {
	var f CreateFlags
	cmd := &cobra.Command{
		Use:     "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:   "Make a container without starting it",
		Example: "berth create --name web -p 8080:80 nginx\nberth start web",
		RunE:    func(cmd *cobra.Command, args []string) error { return create(cmd.Context(), env, &f, args) },
	}
	cmd.Args = f.needImage
	f.Bind(cmd, env)
	cmd.ValidArgsFunction = completeFirst(completeImages(env))
	return cmd
}

func create(ctx context.Context, env *command.Env, f *CreateFlags, args []string) error {
	r, err := f.Request(args)
	if err != nil {
		return err
	}
	cid, err := newCIDFile(f.cidfile)
	if err != nil {
		return setup(err)
	}
	defer cid.close()
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := command.Interruptible(ctx)
	defer cancel()
	res, err := e.Containers.Create(ctx, r)
	created(env, res, cid)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Out, res.ID)
	return err
}
