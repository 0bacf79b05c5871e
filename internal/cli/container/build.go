package container

import (
	"bytes"
	"context"
	"errors"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"berth/internal/cli/command"
	"berth/internal/engine"
)

// isDirectory reports whether the image was named as a path: "berth run ." means
// to build the Dockerfile there and to run what comes of it. No name of an image
// begins with a dot or a slash.
func isDirectory(image string) bool {
	return image == "." || image == ".." ||
		strings.HasPrefix(image, "./") || strings.HasPrefix(image, "../") || filepath.IsAbs(image)
}

// exitNotBuilt is run's code for all that fails before the program.
const exitNotBuilt = 125

// buildFirst has berthd build the directory and returns the image's id. What
// there is to say is said on standard error, since standard output belongs to
// the container.
func buildFirst(ctx context.Context, env *command.Env, dir, platform string, quiet bool) (id string, err error) {
	ctx, stop := command.Interruptible(ctx)
	defer stop()
	program, err := engine.Sibling("berthd")
	if err != nil {
		return "", err
	}
	args := slices.Concat([]string{"--data-root", env.DataRoot, "--state-root", env.StateRoot}, env.Global, []string{"build", "--for-run"})
	if platform != "" {
		args = append(args, "--platform", platform)
	}
	if quiet {
		args = append(args, "--quiet")
	}
	var out bytes.Buffer
	cmd := osexec.CommandContext(ctx, program, append(args, "--", dir)...)
	cmd.Stdout, cmd.Stderr = &out, env.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // let it take down what it runs
	var exit *osexec.ExitError
	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		return "", command.ExitError{Code: exitNotBuilt} // berthd has said why
	case err != nil:
		return "", err
	}
	return strings.TrimSpace(out.String()), nil
}
