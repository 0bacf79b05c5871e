package container

import (
	"context"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/engine"
	"berth/internal/errdefs"
)

type startOptions struct {
	attach, interactive bool
	detachKeys          string
}

// NewStart is `berth start`.
func NewStart(env *command.Env) *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use:               "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Start containers that do not run",
		Example:           "berth start web\nberth start -ai shell",
		Args:              command.AtLeast(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return start(cmd.Context(), env, &o, args) },
		ValidArgsFunction: completeContainers(env, stopped),
	}
	fs := cmd.Flags()
	fs.BoolVarP(&o.attach, "attach", "a", false, "Attach the outputs and pass signals on")
	fs.BoolVarP(&o.interactive, "interactive", "i", false, "Attach the input")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach (default: ctrl-p,ctrl-q)")
	return cmd
}

func start(ctx context.Context, env *command.Env, o *startOptions, refs []string) error {
	attach := o.attach || o.interactive
	if attach && len(refs) > 1 {
		return errdefs.New(errdefs.InvalidArgument, "you cannot start and attach multiple containers at once")
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	if attach {
		return startAttached(ctx, env, e, o, refs[0])
	}
	return command.Each(env, refs, func(ref string) (string, error) {
		_, err := e.Containers.Start(ctx, ref, engine.StartOptions{})
		return ref, err
	})
}

func startAttached(ctx context.Context, env *command.Env, e *engine.Engine, o *startOptions, ref string) error {
	c, err := e.Containers.Inspect(ctx, ref, false)
	if err != nil {
		return err
	}
	s := session{env: env, tty: c.Config.Tty, stdin: o.interactive && c.Config.OpenStdin, detachKeys: o.detachKeys}
	if err := s.check(); err != nil {
		return err
	}
	sig, startCtx := catchSignals(ctx)
	defer sig.stop()
	a := &engine.AttachOptions{Stdin: s.stdin, Stdout: true, Stderr: true}
	a.Rows, a.Cols = s.size()
	conn, err := e.Containers.Start(startCtx, ref, engine.StartOptions{Attach: a})
	if err != nil {
		return err
	}
	if s.passesSignals() {
		sig.forward(func(name string) error { return e.Containers.Kill(ctx, c.ID, name) })
	} else {
		sig.release()
	}
	return s.attachment(ctx, conn)
}
