package daemon

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/errdefs"
	"berth/internal/image/registry"
	"berth/internal/reference"
)

// newRegistry is the noun `berth registry`.
func newRegistry(env *command.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registry",
		Short: "Look at registries",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &command.UsageError{Path: cmd.CommandPath(), Err: fmt.Errorf("unknown command: berth registry %s", args[0])}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newRegistryTest(env))
	return cmd
}

func newRegistryTest(env *command.Env) *cobra.Command {
	insecure := false
	cmd := &cobra.Command{
		Use:                   "test [OPTIONS] REGISTRY[/NAME[:TAG]]",
		DisableFlagsInUseLine: true,
		Short:                 "Explain what works between here and a registry and its mirrors",
		Example:               "  berth registry test docker.io\n  berth registry test registry.example:5000/team/app:1",
		Args:                  command.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return testRegistry(cmd.Context(), env, args[0], insecure)
		},
	}
	cmd.Flags().BoolVar(&insecure, "insecure", false, "Allow plain HTTP and unknown certificates")
	return cmd
}

// testRegistry goes through the hosts that a pull would ask. It fails if none works.
func testRegistry(ctx context.Context, env *command.Env, arg string, insecure bool) error {
	name, withImage, err := registryName(arg)
	if err != nil {
		return err
	}
	o, err := registryOptions(env, insecure)
	if err != nil {
		return err
	}
	n, works := 0, 0
	err = registry.Check(ctx, name, withImage, o, func(c registry.Checked) {
		n++
		printChecked(env.Out, n, c)
		if c.Works() {
			works++
		}
	})
	if err != nil {
		return err
	}
	if !withImage {
		fmt.Fprintf(env.Out, "Whether layers resume shows an image: berth registry test %s/NAME\n", arg) //nolint:errcheck // a closed pipe ends the process by SIGPIPE
	}
	if works == 0 {
		return errdefs.New(errdefs.Unavailable, "cannot pull from %s: none of its hosts works", name.Domain())
	}
	return nil
}

// registryName reads a registry alone, or an image's name.
func registryName(arg string) (name reference.Named, withImage bool, err error) {
	if strings.Contains(arg, "/") {
		name, err = reference.ParseExact(arg)
		return name, true, err
	}
	name, err = reference.ParseExact(arg + "/image")
	if err != nil || name.Domain() != arg {
		return name, false, errdefs.New(errdefs.InvalidArgument, "%q is not the name of a registry, as docker.io or localhost:5000", arg)
	}
	return name, false, nil
}

// printChecked writes what was found of one host.
func printChecked(w io.Writer, n int, c registry.Checked) {
	kind := "the registry itself"
	if c.Host.Mirror() {
		kind = "mirror of " + c.Host.Registry + ", from " + c.Host.From
		switch {
		case !c.Host.Pull && !c.Host.Resolve:
			kind += ", never asked"
		case !c.Host.Resolve:
			kind += ", not asked for tags"
		case !c.Host.Pull:
			kind += ", asked for tags only"
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d. %s (%s)\n", n, c.Host.Addr, kind)
	for _, f := range c.Findings {
		verdict := "ok"
		if !f.Works {
			verdict = "FAILED"
		}
		fmt.Fprintf(&b, "   %-7s %-7s %s\n", f.Step, verdict, f.Detail)
		if f.Advice != "" && !f.Works {
			fmt.Fprintf(&b, "   %-7s %-7s %s\n", "", "", f.Advice)
		}
	}
	io.WriteString(w, b.String()) //nolint:errcheck // as above
}
