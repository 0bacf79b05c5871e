package container

import (
	"context"
	"fmt"
	"path"
	"strconv"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/flagvalue"
	"berth/internal/engine"
	"berth/internal/errdefs"
)

type execOptions struct {
	detach, interactive, tty, privileged bool
	user, workdir, detachKeys            string
	env, envFiles                        flagvalue.List
}

// NewExec is `berth exec`.
func NewExec(env *command.Env) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use:               "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short:             "Run one more program in a running container",
		Example:           "berth exec -it web sh\nberth exec -u root -e LANG=C web id",
		Args:              command.AtLeast(2),
		RunE:              func(cmd *cobra.Command, args []string) error { return exec(cmd.Context(), env, &o, args) },
		ValidArgsFunction: completeFirst(completeContainers(env, running)),
	}
	command.FlagsFirst(cmd)
	fs := cmd.Flags()
	o.env.Check = flagvalue.Env(env.LookupEnv)
	fs.BoolVarP(&o.detach, "detach", "d", false, "Leave it in the background")
	fs.BoolVarP(&o.interactive, "interactive", "i", false, "Pass the input on")
	fs.BoolVarP(&o.tty, "tty", "t", false, "Give the program a terminal")
	fs.BoolVar(&o.privileged, "privileged", false, "Give all capabilities")
	fs.StringVarP(&o.user, "user", "u", "", "User as \"name|uid[:group|gid]\"")
	fs.StringVarP(&o.workdir, "workdir", "w", "", "Working directory in the container")
	fs.VarP(&o.env, "env", "e", "Set a variable, NAME=VALUE, or pass on the client's, NAME")
	fs.Var(&o.envFiles, "env-file", "Read variables from a file, one per line")
	fs.StringVar(&o.detachKeys, "detach-keys", "", "Keys that detach (default: ctrl-p,ctrl-q)")
	return cmd
}

func (o *execOptions) request(env *command.Env, cmd []string) (engine.ExecRequest, error) {
	files, err := flagvalue.ReadEnvFiles(o.envFiles.Values, env.LookupEnv)
	if err != nil {
		return engine.ExecRequest{}, err
	}
	if o.workdir != "" && !path.IsAbs(o.workdir) {
		return engine.ExecRequest{}, errdefs.New(errdefs.InvalidArgument,
			"the working directory '%s' is invalid, it needs to be an absolute path", o.workdir)
	}
	return engine.ExecRequest{
		Cmd: cmd, Env: append(files, o.env.Values...), User: o.user, WorkingDir: o.workdir,
		Tty: o.tty, Privileged: o.privileged, Detach: o.detach,
	}, nil
}

func exec(ctx context.Context, env *command.Env, o *execOptions, args []string) error {
	r, err := o.request(env, args[1:])
	if err != nil {
		return err
	}
	s := session{env: env, tty: o.tty, stdin: o.interactive && !o.detach, detachKeys: o.detachKeys}
	if err := s.check(); err != nil {
		return err
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	if o.detach {
		_, err := e.Containers.Exec(ctx, args[0], r)
		return err
	}
	return execAttached(ctx, e, args[0], r, &s)
}

// execAttached lends the terminal before the program starts, since the program
// may get the client's own descriptors.
func execAttached(ctx context.Context, e *engine.Engine, ref string, r engine.ExecRequest, s *session) error {
	started := make(chan *engine.ExecSession, 1)
	resize := func(rows, cols uint16) error {
		x := <-started
		started <- x
		if x == nil {
			return nil // it did not start
		}
		return x.Resize(rows, cols)
	}
	in, takeBack, err := s.lend(ctx, resize)
	if err != nil {
		return err
	}
	r.Stdin, r.Stdout, r.Stderr = in, s.env.Out, s.env.Err
	r.Rows, r.Cols = s.size()
	sig, execCtx := catchSignals(ctx)
	defer sig.stop()
	x, err := e.Containers.Exec(execCtx, ref, r)
	if err != nil {
		started <- nil
		takeBack()
		return err
	}
	started <- x
	if s.passesSignals() {
		sig.forward(func(number string) error { return signalExec(x, number) })
	} else {
		sig.release()
	}
	code, err := x.Wait()
	takeBack()
	return ended(code, err)
}

func signalExec(x *engine.ExecSession, number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return fmt.Errorf("cannot send signal %q: %w", number, err)
	}
	return x.Signal(n)
}
