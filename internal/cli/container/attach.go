package container

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/container"
	"berth/internal/engine"
	"berth/internal/errdefs"
)

type attachOptions struct {
	noStdin, sigProxy bool
	detachKeys        string
}

// NewAttach is `berth attach`.
func NewAttach(env *command.Env) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use:               "attach [OPTIONS] CONTAINER",
		Short:             "Connect this terminal to the streams of a running container",
		Example:           "berth attach web\nberth attach --no-stdin --sig-proxy=false web",
		Args:              command.Exactly(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return attach(cmd.Context(), env, &o, args[0]) },
		ValidArgsFunction: completeFirst(completeContainers(env, running)),
	}
	fs := cmd.Flags()
	fs.BoolVar(&o.noStdin, "no-stdin", false, "Do not attach the input")
	fs.BoolVar(&o.sigProxy, "sig-proxy", true, "Pass signals on to the program")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach (default: ctrl-p,ctrl-q)")
	return cmd
}

func attach(ctx context.Context, env *command.Env, o *attachOptions, ref string) error {
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	c, err := e.Containers.Inspect(ctx, ref, false)
	if err != nil {
		return err
	}
	switch c.State.Status {
	case container.Running:
	case container.Paused:
		return errdefs.New(errdefs.Conflict, "you cannot attach to a paused container, unpause it first").WithHint("berth unpause %s", ref)
	case container.Restarting:
		return errdefs.New(errdefs.Conflict, "you cannot attach to a restarting container, wait until it is running")
	default:
		return errdefs.New(errdefs.Conflict, "you cannot attach to a stopped container, start it first").WithHint("berth start -a %s", ref)
	}
	s := session{env: env, tty: c.Config.Tty, stdin: !o.noStdin && c.Config.OpenStdin, detachKeys: o.detachKeys}
	if err := s.check(); err != nil {
		return err
	}
	a := engine.AttachOptions{Stdin: s.stdin, Stdout: true, Stderr: true}
	a.Rows, a.Cols = s.size()
	conn, err := e.Containers.Attach(ctx, ref, a)
	if err != nil {
		return err
	}
	if o.sigProxy && s.passesSignals() {
		sig, _ := catchSignals(ctx)
		defer sig.stop()
		sig.forward(func(name string) error { return e.Containers.Kill(ctx, c.ID, name) })
	}
	if a.Rows != 0 {
		// Another size and back: the program draws its screen or prompt anew for who comes to it.
		if err := errors.Join(conn.Resize(a.Rows+1, a.Cols+1), conn.Resize(a.Rows, a.Cols)); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	return s.attachment(ctx, conn)
}
