package system

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/output"
	"berth/internal/dockercompat"
	"berth/internal/engine"
	"berth/internal/errdefs"
)

type inspectOptions struct {
	format, kind string
	size         bool
}

// NewInspect is `berth inspect`.
func NewInspect(env *command.Env) *cobra.Command {
	var o inspectOptions
	cmd := inspectVerb(env, &o, "inspect [OPTIONS] NAME|ID [NAME|ID...]", "Show containers, images or volumes whole",
		"berth inspect web\nberth inspect -f '{{.State.Pid}}' web\nberth inspect --type image alpine")
	cmd.Flags().BoolVarP(&o.size, "size", "s", false, "Also the sizes of containers")
	cmd.Flags().StringVar(&o.kind, "type", "", "Only objects of this kind: container, image, volume")
	return cmd
}

// NewInspectContainer is `berth container inspect`.
func NewInspectContainer(env *command.Env) *cobra.Command {
	o := inspectOptions{kind: "container"}
	cmd := inspectVerb(env, &o, "inspect [OPTIONS] CONTAINER [CONTAINER...]", "Show containers whole",
		"berth container inspect -f '{{json .State}}' web")
	cmd.Flags().BoolVarP(&o.size, "size", "s", false, "Also the sizes")
	return cmd
}

// NewInspectImage is `berth image inspect`.
func NewInspectImage(env *command.Env) *cobra.Command {
	o := inspectOptions{kind: "image"}
	return inspectVerb(env, &o, "inspect [OPTIONS] IMAGE [IMAGE...]", "Show images whole",
		"berth image inspect -f '{{.Config.Cmd}}' alpine")
}

func inspectVerb(env *command.Env, o *inspectOptions, use, short, example string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example, Args: command.AtLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error { return inspect(cmd.Context(), env, o, args) },
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "", output.InspectUsage)
	return cmd
}

func inspect(ctx context.Context, env *command.Env, o *inspectOptions, refs []string) error {
	switch o.kind {
	case "", "container", "image", "volume":
	default:
		return errdefs.New(errdefs.InvalidArgument, "unknown type: %q: must be one of \"container\", \"image\", \"volume\"", o.kind)
	}
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	return command.Inspect(env, o.format, refs, func(ref string) (any, error) { return o.find(ctx, e, ref) })
}

// find looks for a container first, then for an image, then for a volume.
func (o *inspectOptions) find(ctx context.Context, e *engine.Engine, ref string) (any, error) {
	lookups := [...]struct {
		kind string
		find func() (any, error)
	}{
		{"container", func() (any, error) { return findContainer(ctx, e, ref, o.size) }},
		{"image", func() (any, error) { return findImage(ctx, e, ref) }},
		{"volume", func() (any, error) { return findVolume(ctx, e, ref) }},
	}
	for _, l := range lookups {
		if o.kind != "" && o.kind != l.kind {
			continue
		}
		v, err := l.find()
		if err == nil || o.kind != "" || !errors.Is(err, errdefs.NotFound) && !errors.Is(err, errdefs.InvalidArgument) {
			return v, err
		}
	}
	return nil, errdefs.New(errdefs.NotFound, "no such object: %s", ref).WithHint("'berth ps -a', 'berth images' and 'berth volume ls' list what there is")
}

func findContainer(ctx context.Context, e *engine.Engine, ref string, size bool) (any, error) {
	c, err := e.Containers.Inspect(ctx, ref, size)
	if err != nil {
		return nil, err
	}
	return dockercompat.NewContainer(c), nil
}

func findImage(ctx context.Context, e *engine.Engine, ref string) (any, error) {
	i, err := e.Images.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	return dockercompat.NewImage(i), nil
}

func findVolume(ctx context.Context, e *engine.Engine, ref string) (any, error) {
	v, err := e.Volumes.Inspect(ctx, ref)
	if err != nil {
		return nil, err
	}
	return dockercompat.NewVolume(&v), nil
}
