package system

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"berth/internal/buildinfo"
	"berth/internal/cli/command"
	"berth/internal/cli/output"
)

// NewVersion is `berth version`.
func NewVersion(env *command.Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "version [OPTIONS]",
		Short:   "Print the version",
		Example: "berth version\nberth version --format '{{.Server.Version}}'",
		Args:    command.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if format == "" {
				return PrintVersion(env.Out)
			}
			return output.Execute(env.Out, output.Format(format), versionDocument())
		},
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", output.InspectUsage)
	return cmd
}

// versionParts has Docker's shape. Client and server are the same program here.
type versionParts struct{ Client, Server versionPart }

type versionPart struct {
	Version, GoVersion, GitCommit, BuildTime, Os, Arch string
}

func versionDocument() versionParts {
	i := buildinfo.Read()
	p := versionPart{i.Version, i.GoVersion, i.GitCommit, i.Built, i.Os, i.Arch}
	return versionParts{p, p}
}

// PrintVersion prints the table. It is the command that scripts call to see
// whether berth is there, so it opens nothing.
func PrintVersion(w io.Writer) error {
	p := versionDocument().Client
	built := p.BuildTime
	if t, err := time.Parse(time.RFC3339, built); err == nil {
		built = t.Format(time.ANSIC)
	}
	_, err := fmt.Fprintf(w, `Client: berth
 Version:           %[1]s
 Go version:        %[2]s
 Git commit:        %[3]s
 Built:             %[4]s
 OS/Arch:           %[5]s/%[6]s

Server: berth (in the same process: there is no daemon)
 Engine:
  Version:          %[1]s
  Go version:       %[2]s
  Git commit:       %[3]s
  Built:            %[4]s
  OS/Arch:          %[5]s/%[6]s
`, p.Version, p.GoVersion, p.GitCommit, built, p.Os, p.Arch)
	return err
}

// NewEvents is `berth events`.
func NewEvents(env *command.Env) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:     "events [OPTIONS]",
		Short:   "Print what happens to containers, images and volumes",
		Example: "berth events --filter event=die\nberth events --since 1h --until 0s",
		Args:    command.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return events(cmd.Context(), env, &o) },
	}
	fs := cmd.Flags()
	fs.VarP(&o.filters, "filter", "f", "Select, as type=container, event=die, container=NAME, label=a=b")
	fs.StringVar(&o.format, "format", "", output.InspectUsage)
	fs.StringVar(&o.since, "since", "", "Also events since a time or a while ago")
	fs.StringVar(&o.until, "until", "", "Only events until a time; then end")
	return cmd
}

// NewInfo is `berth info`.
func NewInfo(env *command.Env) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "info [OPTIONS]",
		Short:   "Describe this host and what berth found on it",
		Example: "berth info\nberth info -f '{{.Driver}} on {{.DockerRootDir}}'",
		Args:    command.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return info(cmd.Context(), env, format) },
	}
	cmd.Flags().StringVarP(&format, "format", "f", "", output.InspectUsage)
	return cmd
}

func info(ctx context.Context, env *command.Env, format string) error {
	e, err := env.Open(ctx)
	if err != nil {
		return err
	}
	i, err := e.System.Info(ctx)
	if err != nil {
		return err
	}
	if format != "" {
		return output.Execute(env.Out, output.Format(format), i)
	}
	return printInfo(env, i)
}
