package container

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/cli/output"
	"berth/internal/container"
	"berth/internal/engine"
	"berth/internal/errdefs"
)

// NewDiff is `berth diff`.
func NewDiff(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "diff CONTAINER",
		Short:   "List the paths that differ from the image: A added, C changed, D deleted",
		Example: "berth diff web",
		Args:    command.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			changes, err := e.Containers.Diff(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			w := bufio.NewWriter(env.Out)
			for _, c := range changes {
				fmt.Fprintf(w, "%c %s\n", c.Kind, c.Path) //nolint:errcheck // bufio keeps the error for Flush
			}
			return w.Flush()
		},
		ValidArgsFunction: completeFirst(completeContainers(env, anyState)),
	}
}

// NewCommit is `berth commit`.
func NewCommit(env *command.Env) *cobra.Command {
	var r engine.CommitRequest
	cmd := &cobra.Command{
		Use:     "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
		Short:   "Make an image of a container's changes",
		Example: "berth commit web web:patched\nberth commit -c 'CMD [\"sh\"]' -m 'add tools' web tools",
		Args:    command.Between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				r.Reference = args[1]
			}
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			ctx, cancel := command.Interruptible(cmd.Context())
			defer cancel()
			id, err := e.Containers.Commit(ctx, args[0], r)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Out, id)
			return err
		},
		ValidArgsFunction: completeFirst(completeContainers(env, anyState)),
	}
	fs := cmd.Flags()
	fs.StringVarP(&r.Author, "author", "a", "", "Author of the image")
	fs.StringVarP(&r.Comment, "message", "m", "", "What was done")
	fs.StringArrayVarP(&r.Changes, "change", "c", nil, "Dockerfile instruction to apply, as 'CMD [\"sh\"]'")
	fs.BoolVarP(&r.Pause, "pause", "p", true, "Pause the container meanwhile")
	return cmd
}

// NewTop is `berth top`.
func NewTop(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "top CONTAINER [ps OPTIONS]",
		Short:   "List the processes of a container as ps(1) sees them from the host",
		Example: "berth top web\nberth top web -eo pid,comm",
		Args:    command.AtLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			titles, rows, err := e.Containers.Top(cmd.Context(), args[0], args[1:])
			if err != nil {
				return err
			}
			w := output.NewWideTable(env.Out)
			fmt.Fprintln(w, strings.Join(titles, "\t")) //nolint:errcheck // tabwriter keeps the error for Flush
			for _, r := range rows {
				fmt.Fprintln(w, strings.Join(r, "\t")) //nolint:errcheck // as above
			}
			return w.Flush()
		},
		ValidArgsFunction: completeFirst(completeContainers(env, running)),
	}
	command.FlagsFirst(cmd)
	return cmd
}

// NewPort is `berth port`.
func NewPort(env *command.Env) *cobra.Command {
	return &cobra.Command{
		Use:     "port CONTAINER [PRIVATE_PORT[/PROTO]]",
		Short:   "List the published ports of a container",
		Example: "berth port web\nberth port web 80",
		Args:    command.Between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := env.Open(cmd.Context())
			if err != nil {
				return err
			}
			c, err := e.Containers.Inspect(cmd.Context(), args[0], false)
			if err != nil {
				return err
			}
			if !c.State.Status.Live() {
				c.State.Network.Ports = nil // what it had is given back
			}
			lines, err := portLines(c.State.Network.Ports, args)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(env.Out, lines)
			return err
		},
		ValidArgsFunction: completeFirst(completeContainers(env, running)),
	}
}

// portLines lists all published ports, or with a second argument the host side of one.
func portLines(ports map[string][]container.PortBinding, args []string) (string, error) {
	var b strings.Builder
	if len(args) < 2 {
		for _, port := range sortedPorts(ports) {
			for _, on := range ports[port] {
				fmt.Fprintf(&b, "%s -> %s\n", port, hostPort(on.HostIP, on.HostPort))
			}
		}
		return b.String(), nil
	}
	port := args[1]
	if !strings.Contains(port, "/") {
		port += "/tcp"
	}
	bindings, ok := ports[port]
	if !ok || len(bindings) == 0 {
		return "", errdefs.New(errdefs.NotFound, "no public port '%s' published for %s", args[1], args[0])
	}
	for _, on := range bindings {
		b.WriteString(hostPort(on.HostIP, on.HostPort) + "\n")
	}
	return b.String(), nil
}
