package system

import (
	"fmt"
	"strings"

	"berth/internal/cli/command"
	"berth/internal/engine"
	"berth/internal/units"
)

// printInfo prints Docker's layout: two columns, lists indented below their title.
func printInfo(env *command.Env, i *engine.Info) error {
	var b strings.Builder
	line := func(indent int, name string, value any) {
		fmt.Fprintf(&b, "%s%s: %v\n", strings.Repeat(" ", indent), name, value)
	}
	b.WriteString("Client: berth\n")
	line(1, "Version", i.ServerVersion)
	line(1, "Debug Mode", env.Debug)
	b.WriteString("\nServer:\n")
	line(1, "Containers", i.Containers)
	line(2, "Running", i.ContainersRunning)
	line(2, "Paused", i.ContainersPaused)
	line(2, "Stopped", i.ContainersStopped)
	line(1, "Images", i.Images)
	line(1, "Server Version", i.ServerVersion)
	line(1, "Storage Driver", i.Driver)
	for _, s := range i.DriverStatus {
		line(2, s[0], s[1])
	}
	line(1, "Logging Driver", i.LoggingDriver)
	line(1, "Cgroup Driver", i.CgroupDriver)
	line(1, "Cgroup Version", i.CgroupVersion)
	line(1, "Default Runtime", i.DefaultRuntime)
	line(1, "Init Binary", i.InitBinary)
	if len(i.SecurityOptions) > 0 {
		b.WriteString(" Security Options:\n")
		for _, s := range i.SecurityOptions {
			b.WriteString("  " + strings.TrimPrefix(s, "name=") + "\n")
		}
	}
	line(1, "Kernel Version", i.KernelVersion)
	line(1, "Operating System", i.OperatingSystem)
	line(1, "OSType", i.OSType)
	line(1, "Architecture", i.Architecture)
	line(1, "CPUs", i.NCPU)
	line(1, "Total Memory", units.FormatBytes1024(float64(i.MemTotal)))
	line(1, "Name", i.Name)
	line(1, "ID", i.ID)
	line(1, "Docker Root Dir", i.DockerRootDir)
	line(1, "State Root Dir", i.StateRoot)
	if i.UserNamespaceIDs != "" {
		line(1, "User Namespace IDs", i.UserNamespaceIDs)
	}
	if len(i.Features) > 0 {
		b.WriteString(" Kernel Features:\n")
		for _, f := range i.Features {
			line(2, f[0], f[1])
		}
	}
	if _, err := env.Out.Write([]byte(b.String())); err != nil {
		return err
	}
	for _, w := range i.Warnings {
		fmt.Fprintln(env.Err, "WARNING: "+strings.TrimPrefix(w, "WARNING: ")) //nolint:errcheck // stderr is the last resort
	}
	return nil
}
