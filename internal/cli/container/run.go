package container

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/container"
	"berth/internal/engine"
)

type runOptions struct {
	CreateFlags
	detach, sigProxy bool
	detachKeys       string
}

// NewRun is `berth run`.
func NewRun(env *command.Env) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short: "Make a container from an image and run it",
		Example: "berth run hello\nberth run --rm -it alpine sh\nberth run -d --name web -p 8080:80 nginx\n" +
			"berth run --rm --rootfs ./rootfs cat /etc/os-release\nberth run --rm .",
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), env, &o, args) },
	}
	cmd.Args = o.needImage
	fs := cmd.Flags()
	o.Bind(cmd, env)
	fs.BoolVarP(&o.detach, "detach", "d", false, "Run in the background and print the container's id")
	fs.BoolVar(&o.sigProxy, "sig-proxy", true, "Pass signals on to the program")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach (default: ctrl-p,ctrl-q)")
	cmd.ValidArgsFunction = completeFirst(completeImages(env))
	return cmd
}

// needImage asks for an image, unless --rootfs=DIR takes its place.
func (f *CreateFlags) needImage(cmd *cobra.Command, args []string) error {
	if f.rootfs != "" && f.rootfs != rootfsNext {
		return nil
	}
	return command.AtLeast(1)(cmd, args)
}

func run(ctx context.Context, env *command.Env, o *runOptions, args []string) error {
	r, err := o.Request(args)
	if err != nil {
		return err
	}
	if o.detach {
		if len(o.attach.Values) > 0 {
			return &command.UsageError{Path: "berth run", Err: fmt.Errorf("conflicting options: cannot specify both --attach and --detach")}
		}
		detached(&r.Config)
	}
	s := session{env: env, tty: o.tty, stdin: r.Config.AttachStdin, detachKeys: o.detachKeys}
	if err := s.check(); err != nil {
		return err
	}
	cid, err := newCIDFile(o.cidfile)
	if err != nil {
		return setup(err)
	}
	defer cid.close()
	if isDirectory(r.Config.Image) {
		if r.Config.Image, err = buildFirst(ctx, env, r.Config.Image, r.Platform, r.Quiet); err != nil {
			return err
		}
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	if o.detach {
		return runDetached(ctx, env, e, r, cid)
	}
	return runAttached(ctx, e, r, cid, &s, o.sigProxy)
}

// detached leaves the streams to the log: no client is there.
func detached(c *container.Config) {
	c.AttachStdin, c.AttachStdout, c.AttachStderr, c.StdinOnce = false, false, false, false
}

func runDetached(ctx context.Context, env *command.Env, e *engine.Engine, r engine.CreateRequest, cid *cidFile) error {
	ctx, cancel := command.Interruptible(ctx)
	defer cancel()
	res, _, err := e.Containers.Run(ctx, r, engine.StartOptions{})
	created(env, res, cid)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(env.Out, res.ID)
	return err
}

func runAttached(ctx context.Context, e *engine.Engine, r engine.CreateRequest, cid *cidFile, s *session, proxy bool) error {
	sig, runCtx := catchSignals(ctx)
	defer sig.stop()
	c := r.Config
	a := &engine.AttachOptions{Stdin: c.AttachStdin, Stdout: c.AttachStdout, Stderr: c.AttachStderr}
	a.Rows, a.Cols = s.size()
	res, conn, err := e.Containers.Run(runCtx, r, engine.StartOptions{Attach: a})
	created(s.env, res, cid)
	if err != nil {
		return err
	}
	if proxy && s.passesSignals() {
		sig.forward(func(name string) error { return e.Containers.Kill(ctx, res.ID, name) })
	} else {
		sig.release()
	}
	return s.attachment(ctx, conn)
}

// created reports a container that was made, even if its start failed later.
func created(env *command.Env, res engine.CreateResult, cid *cidFile) {
	for _, w := range res.Warnings {
		fmt.Fprintln(env.Err, "WARNING: "+w) //nolint:errcheck // stderr is the last resort
	}
	if err := cid.write(res.ID); err != nil {
		command.PrintError(env.Err, err)
	}
}
