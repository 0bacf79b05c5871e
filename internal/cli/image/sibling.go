package image

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"berth/internal/cli/command"
	"berth/internal/errdefs"
)

// siblingName is the program that holds everything that speaks a protocol.
const siblingName = "berthd"

// NewSibling is a verb that berthd does: this process becomes that program, so
// that berth itself links no network client and starts in a millisecond. path
// is the verb as berthd knows it: "pull", "builder prune".
func NewSibling(env *command.Env, path, args, short, example string) *cobra.Command {
	words := strings.Fields(path)
	return &cobra.Command{
		Use:                words[len(words)-1] + " [OPTIONS] " + args,
		Short:              short,
		Example:            example,
		DisableFlagParsing: true, // its flags are berthd's, --help too
		RunE: func(_ *cobra.Command, args []string) error {
			program, err := siblingPath()
			if err != nil {
				return errdefs.Wrap(err, "run", "'berth "+path+"'")
			}
			argv := []string{siblingName, "--data-root", env.DataRoot, "--state-root", env.StateRoot}
			argv = slices.Concat(argv, env.Global, words, args)
			if err := syscall.Exec(program, argv, os.Environ()); err != nil {
				return errdefs.Wrap(&os.PathError{Op: "exec", Path: program, Err: err}, "run", "'berth "+path+"'")
			}
			return nil
		},
	}
}

// siblingPath looks beside this program's own file first, so that a build tree
// or a second installation uses its own parts, then in PATH.
func siblingPath() (string, error) {
	if self, err := os.Executable(); err == nil {
		if p := filepath.Join(filepath.Dir(self), siblingName); executable(p) {
			return p, nil
		}
	}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		// A relative entry would run whatever the working directory holds.
		if p := filepath.Join(dir, siblingName); filepath.IsAbs(dir) && executable(p) {
			return p, nil
		}
	}
	return "", &errdefs.Error{
		Kind: errdefs.NotFound, Subject: siblingName, Err: errors.New("not found beside berth nor in PATH"),
		Hint: "install berthd beside berth, or build it with 'make build'",
	}
}

func executable(p string) bool {
	fi, err := os.Stat(p)
	return err == nil && fi.Mode().IsRegular() && fi.Mode().Perm()&0o111 != 0
}
